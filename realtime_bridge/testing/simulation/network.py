"""The network of a simulation: sockets that keep order, requests that may fail, and faults."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from realtime_bridge.testing.simulation.server import Connection, Message

if TYPE_CHECKING:
    from realtime_bridge.testing.simulation.client import Client
    from realtime_bridge.testing.simulation.world import Simulation

DELAY_MS = (5, 120)
SLOW_MS = 2_000
LOST_MS = 500
"""How much later a hosted provider may hand over a frame than the one after it."""

KILLED_AFTER_MS = 300
LOST = 0
"""The status of a request that nobody answered."""

OnAnswer = Callable[[int, Any], None]


class Network:
    """What lies between the clients and the servers."""

    def __init__(self, world: "Simulation") -> None:
        self._world = world
        self._random = world.random

    def open(self, client: "Client", number: int) -> None:
        """Try to open a socket; the client is told in time, or never."""
        world, delay = self._world, self._delay(client.number)
        if world.faulty("offline", client.number):
            return
        if world.faulty("refuse", client.number):
            world.after(delay, client.socket_closed, number, 1006)
            return
        connection = world.servers.accept(client.number, number)
        if connection is None:
            world.after(delay, client.socket_closed, number, 1006)
            return
        connection.deaf = world.faulty("swallow", client.number)
        connection.busy_until = connection.up_until = world.now + delay
        world.after(delay, client.socket_opened, number, connection)
        if world.faulty("kill", client.number):
            world.after(delay + KILLED_AFTER_MS, world.servers.close, connection, 1006)

    def up(self, connection: Connection, message: Message) -> None:
        """Carry a frame to the server."""
        if not connection.deaf:
            at = max(connection.up_until, self._world.now + self._delay(connection.client))
            connection.up_until = at
            self._world.at(at, self._world.servers.receive, connection, message)

    def down(self, connection: Connection, message: Message) -> None:
        """Carry a frame to the client; a provider's events may get lost, doubled or reordered."""
        if connection.deaf or not connection.open:
            return
        client = self._world.clients[connection.client]
        delay = self._delay(connection.client)
        if connection.hosted and message[0] == "event":
            for later in self._mangle(connection.client):
                self._world.after(delay + later, client.socket_message, connection, message)
            return
        at = max(connection.busy_until, self._world.now + delay)
        connection.busy_until = at
        self._world.at(at, client.socket_message, connection, message)

    def tell_closed(self, connection: Connection, code: int) -> None:
        """Carry the news that a socket is closed, after what was written on it."""
        if not connection.deaf:
            client = self._world.clients[connection.client]
            at = max(connection.busy_until, self._world.now + self._delay(connection.client))
            self._world.at(at, client.socket_closed, connection.number, code)

    def request(self, client: "Client", name: str, argument: Any, on_answer: OnAnswer) -> None:
        """Ask a server over HTTP; a request that hangs is never answered."""
        number, delay = client.number, self._delay(client.number)
        fault = self._http_fault(number)
        if fault == "http_hang":
            return
        if fault:
            status = {"http_500": 500, "http_503": 503}.get(fault, LOST)
            self._world.after(2 * delay, on_answer, status, None)
            return
        self._world.after(delay, self._handle, client, name, argument, on_answer)

    def _handle(self, client: "Client", name: str, argument: Any, on_answer: OnAnswer) -> None:
        servers, delay = self._world.servers, self._delay(client.number)
        if not servers.ready():
            self._world.after(delay, on_answer, LOST, None)
            return
        if name == "describe":
            status, answer = servers.describe(client.number, renew=argument)
        elif name == "poll":
            status, answer = servers.poll(client.number, *argument)
        else:
            status, answer = 200, dict(self._world.application.get(argument, {}))
        if not self._world.faulty("offline", client.number):
            self._world.after(delay, on_answer, status, answer)

    def _http_fault(self, client: int) -> str | None:
        if self._world.faulty("offline", client):
            return "http_hang"
        for kind in ("http_hang", "http_500", "http_503", "http_html"):
            if self._world.faulty(kind, client):
                return kind
        return None

    def _mangle(self, client: int) -> list[int]:
        """Return by how much later each copy of a hosted frame comes."""
        chance = 0.5 if self._world.faulty("mangle", client) else 0.05
        copies = [0]
        if self._random.random() < chance:
            copies = self._random.choice(([], [0, 0], [LOST_MS], [0, LOST_MS]))
        return copies

    def _delay(self, client: int) -> int:
        delay = self._random.randint(*DELAY_MS)
        if self._world.faulty("slow", client):
            delay += self._random.randrange(SLOW_MS)
        return delay
