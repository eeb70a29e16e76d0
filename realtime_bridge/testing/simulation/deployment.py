"""Interfaces between the parts of a simulated deployment."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Protocol

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.reducer import Reducer
from realtime_bridge.testing.simulation.connection import Connection, Message, Node, Positions
from realtime_bridge.testing.simulation.faults import Fault
from realtime_bridge.testing.simulation.handlers import Handler
from realtime_bridge.testing.simulation.log import SimulatedLog
from realtime_bridge.testing.simulation.options import Options

OnAnswer = Callable[[int, Any], None]


class SimulatedChannels(Protocol):
    """Channels of one client."""

    handler: Handler

    @property
    def reducers(self) -> Mapping[str, Reducer]:
        """The reducer of each channel."""

    @property
    def positions(self) -> Mapping[str, Position | None]:
        """The position of each channel."""


class SimulatedClient(Protocol):
    """Client, as the network and the fault effects use it."""

    number: int
    name: str
    asleep: bool
    polls: int
    machine: Machine

    @property
    def channels(self) -> SimulatedChannels:
        """The channels that the client listens to."""

    def give(self, name: str, **args: Any) -> None:
        """Give the state machine an input, and perform its commands."""

    def socket_opened(self, number: int, connection: Connection) -> None:
        """Take an opened socket."""

    def socket_closed(self, number: int, code: int) -> None:
        """Take the end of a socket."""

    def socket_message(self, connection: Connection, message: Message) -> None:
        """Take a message."""

    def sleep(self) -> None:
        """Suspend the client, as a laptop does."""

    def wake(self, *, jumped: bool) -> None:
        """Resume the client."""


class SimulatedNetwork(Protocol):
    """Network between clients and servers."""

    def open(self, client: SimulatedClient, number: int) -> None:
        """Open a socket, unless a fault prevents it."""

    def up(self, connection: Connection, message: Message) -> None:
        """Carry a message to the server."""

    def down(self, connection: Connection, message: Message) -> None:
        """Carry a message to the client."""

    def deliver_close(self, connection: Connection, code: int) -> None:
        """Carry the end of a socket to the client."""

    def request(
        self, client: SimulatedClient, name: str, argument: Any, on_answer: OnAnswer
    ) -> None:
        """Send an HTTP request."""


class SimulatedServers(Protocol):
    """Server processes and the hosted provider."""

    nodes: list[Node]
    connections: list[Connection]
    tokens: list[int]
    revoked: dict[int, int]
    logged_out: set[int]

    def ready(self) -> Sequence[Node]:
        """Return the nodes that answer."""

    def accept(self, client: int, number: int) -> Connection | None:
        """Accept a socket, or refuse it."""

    def receive(self, connection: Connection, message: Message) -> None:
        """Take a client's message."""

    def describe(self, client: int, *, renew: bool) -> tuple[int, Any]:
        """Answer `POST connect`."""

    def poll(self, client: int, token: int, positions: Positions) -> tuple[int, Any]:
        """Answer `POST poll`."""

    def announce(self, event: Event) -> None:
        """Push an appended event."""

    def compare(self, channel: str) -> None:
        """Compare the log with the events that were announced."""

    def send_reset(self, channel: str) -> None:
        """Send a reset to every subscriber."""

    def send_status(self, *, ok: bool) -> None:
        """Send the server's health to every client."""

    def move(self, *, hosted: bool) -> None:
        """Change the delivering configuration."""

    def close(self, connection: Connection, code: int) -> None:
        """Close a socket from the server's side."""

    def drop(self, connection: Connection) -> None:
        """Remove a socket."""

    def check_tokens(self, client: int) -> None:
        """Close the client's sockets whose token has expired."""


class Observer(Protocol):
    """Checker, as the clients use it."""

    def started(self, client: SimulatedClient, channel: str, position: Position) -> None:
        """Record a client's first position."""

    def restarted(self, client: SimulatedClient, channel: str, position: Position | None) -> None:
        """Record a reset."""

    def delivered(self, client: SimulatedClient, event: Event) -> None:
        """Check an event that the handler received."""

    def stepped(self, client: SimulatedClient) -> None:
        """Check a client's state."""


class Deployment(Protocol):
    """Simulation, as its parts use it."""

    now: int
    telling: bool
    options: Options
    random: Random
    hosted: bool
    memory: bool
    max_age: int | None
    application: dict[str, dict[str, Any]]
    log: SimulatedLog

    @property
    def network(self) -> SimulatedNetwork:
        """The network."""

    @property
    def servers(self) -> SimulatedServers:
        """The servers."""

    @property
    def checker(self) -> Observer:
        """The checker of the invariants."""

    @property
    def clients(self) -> Sequence[SimulatedClient]:
        """The clients, by number."""

    @property
    def faults(self) -> list[Fault]:
        """The faults of this run."""

    @property
    def ever_hosted(self) -> bool:
        """Return whether a provider is used at any time."""

    def at(self, when: int, call: Callable[..., None], *args: Any) -> None:
        """Schedule a call at a time."""

    def after(self, wait: int, call: Callable[..., None], *args: Any) -> None:
        """Schedule a call after a wait."""

    def faulty(self, kind: str, client: int | None) -> bool:
        """Return whether a fault of this kind affects the client now."""

    def acknowledged(self, event: Event, *, terminal: bool) -> None:
        """Record an acknowledged publish."""

    def tell(self, line: str) -> None:
        """Add a line to the story."""
