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
        """Reducer of each channel."""

    @property
    def positions(self) -> Mapping[str, Position | None]:
        """Position of each channel."""


class SimulatedClient(Protocol):
    """Client, as the network and the fault effects use it."""

    number: int
    name: str
    asleep: bool
    polls: int
    machine: Machine

    @property
    def channels(self) -> SimulatedChannels:
        """Channels that the client subscribes to."""

    def apply_input(self, name: str, **args: Any) -> None:
        """Give the state machine an input, and perform its commands."""

    def socket_opened(self, number: int, connection: Connection) -> None:
        """Handle the opening of a socket."""

    def socket_closed(self, number: int, code: int) -> None:
        """Handle the end of a socket."""

    def socket_message(self, connection: Connection, message: Message) -> None:
        """Handle a message."""

    def sleep(self) -> None:
        """Suspend the client, as a laptop does."""

    def wake(self, *, jumped: bool) -> None:
        """Resume the client."""


class SimulatedNetwork(Protocol):
    """Network between clients and servers."""

    def open(self, client: SimulatedClient, number: int) -> None:
        """Open a socket, unless a fault prevents it."""

    def send_to_server(self, connection: Connection, message: Message) -> None:
        """Send a message to the server."""

    def send_to_client(self, connection: Connection, message: Message) -> None:
        """Send a message to the client."""

    def deliver_close(self, connection: Connection, code: int) -> None:
        """Notify the client of the end of a socket."""

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
        """Accept or reject a socket."""

    def receive(self, connection: Connection, message: Message) -> None:
        """Handle a message from a client."""

    def describe(self, client: int, *, renew: bool) -> tuple[int, Any]:
        """Answer `POST connect`."""

    def poll(self, client: int, token: int, positions: Positions) -> tuple[int, Any]:
        """Answer `POST poll`."""

    def announce(self, event: Event) -> None:
        """Push an appended event."""

    def verify_position(self, channel: str) -> None:
        """Rotate the epoch if the log contradicts the announced events."""

    def send_reset(self, channel: str) -> None:
        """Send a reset to every subscriber."""

    def send_status(self, *, ok: bool) -> None:
        """Send the server's health to every client."""

    def change_delivery(self, *, hosted: bool) -> None:
        """Switch the delivery to or from the provider."""

    def close(self, connection: Connection, code: int) -> None:
        """Close a socket from the server's side."""

    def remove(self, connection: Connection) -> None:
        """Remove a socket."""

    def check_tokens(self, client: int) -> None:
        """Close the client's sockets whose token has expired."""


class Observer(Protocol):
    """Checker, as the clients use it."""

    def record_start(self, client: SimulatedClient, channel: str, position: Position) -> None:
        """Record the position at which a client begins."""

    def record_reset(
        self, client: SimulatedClient, channel: str, position: Position | None
    ) -> None:
        """Record a reset."""

    def check_delivery(self, client: SimulatedClient, event: Event) -> None:
        """Check an event that the handler received."""

    def check_state(self, client: SimulatedClient) -> None:
        """Check the invariants that hold after every input."""


class Deployment(Protocol):
    """Simulation, as its parts use it."""

    now: int
    tracing: bool
    options: Options
    random: Random
    hosted: bool
    memory: bool
    max_age: int | None
    application: dict[str, dict[str, Any]]
    log: SimulatedLog

    @property
    def network(self) -> SimulatedNetwork:
        """Network between clients and servers."""

    @property
    def servers(self) -> SimulatedServers:
        """Server processes and the provider."""

    @property
    def checker(self) -> Observer:
        """Checker of the invariants."""

    @property
    def clients(self) -> Sequence[SimulatedClient]:
        """Clients, by number."""

    @property
    def faults(self) -> list[Fault]:
        """Faults of this run."""

    @property
    def uses_provider(self) -> bool:
        """True if a provider delivers at any time of the run."""

    def call_at(self, when: int, call: Callable[..., None], *args: Any) -> None:
        """Schedule a call for a time in milliseconds."""

    def call_later(self, wait: int, call: Callable[..., None], *args: Any) -> None:
        """Schedule a call after a wait in milliseconds."""

    def has_fault(self, kind: str, client: int | None) -> bool:
        """Return whether a fault of this kind affects the client now."""

    def record_publish(self, event: Event, *, terminal: bool) -> None:
        """Record an acknowledged publish, and schedule the check of a terminal state."""

    def log_line(self, line: str) -> None:
        """Add a line to the trace."""
