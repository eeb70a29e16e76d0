"""The network of a simulation: sockets that keep order, requests that may fail, and faults."""

from collections.abc import Callable
from typing import Any

from realtime_bridge.testing.simulation.connection import Connection, Message
from realtime_bridge.testing.simulation.deployment import Deployment, SimulatedClient

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

    def __init__(self, simulation: Deployment) -> None:
        self._simulation = simulation
        self._random = simulation.random

    def open(self, client: SimulatedClient, number: int) -> None:
        """Try to open a socket; the client is told in time, or never."""
        simulation, delay = self._simulation, self._delay(client.number)
        if simulation.faulty("offline", client.number):
            return
        if simulation.faulty("refuse", client.number):
            simulation.after(delay, client.socket_closed, number, 1006)
            return
        connection = simulation.servers.accept(client.number, number)
        if connection is None:
            simulation.after(delay, client.socket_closed, number, 1006)
            return
        connection.broken = simulation.faulty("swallow", client.number)
        connection.busy_until = connection.up_until = simulation.now + delay
        simulation.after(delay, client.socket_opened, number, connection)
        if simulation.faulty("kill", client.number):
            simulation.after(delay + KILLED_AFTER_MS, simulation.servers.close, connection, 1006)

    def up(self, connection: Connection, message: Message) -> None:
        """Carry a frame to the server."""
        if not connection.broken:
            at = max(connection.up_until, self._simulation.now + self._delay(connection.client))
            connection.up_until = at
            self._simulation.at(at, self._simulation.servers.receive, connection, message)

    def down(self, connection: Connection, message: Message) -> None:
        """Carry a frame to the client; a provider's events may get lost, doubled or reordered."""
        if connection.broken or not connection.open:
            return
        client = self._simulation.clients[connection.client]
        delay = self._delay(connection.client)
        if connection.hosted and message[0] == "event":
            for later in self._mangle(connection.client):
                self._simulation.after(delay + later, client.socket_message, connection, message)
            return
        at = max(connection.busy_until, self._simulation.now + delay)
        connection.busy_until = at
        self._simulation.at(at, client.socket_message, connection, message)

    def deliver_close(self, connection: Connection, code: int) -> None:
        """Carry the news that a socket is closed, after what was written on it."""
        if not connection.broken:
            client = self._simulation.clients[connection.client]
            at = max(connection.busy_until, self._simulation.now + self._delay(connection.client))
            self._simulation.at(at, client.socket_closed, connection.number, code)

    def request(
        self, client: SimulatedClient, name: str, argument: Any, on_answer: OnAnswer
    ) -> None:
        """Ask a server over HTTP; a request that hangs is never answered."""
        number, delay = client.number, self._delay(client.number)
        fault = self._http_fault(number)
        if fault == "http_hang":
            return
        if fault:
            status = {"http_500": 500, "http_503": 503}.get(fault, LOST)
            self._simulation.after(2 * delay, on_answer, status, None)
            return
        self._simulation.after(delay, self._handle, client, name, argument, on_answer)

    def _handle(
        self, client: SimulatedClient, name: str, argument: Any, on_answer: OnAnswer
    ) -> None:
        servers, delay = self._simulation.servers, self._delay(client.number)
        if not servers.ready():
            self._simulation.after(delay, on_answer, LOST, None)
            return
        if name == "describe":
            status, answer = servers.describe(client.number, renew=argument)
        elif name == "poll":
            status, answer = servers.poll(client.number, *argument)
        else:
            status, answer = 200, dict(self._simulation.application.get(argument, {}))
        if not self._simulation.faulty("offline", client.number):
            self._simulation.after(delay, on_answer, status, answer)

    def _http_fault(self, client: int) -> str | None:
        if self._simulation.faulty("offline", client):
            return "http_hang"
        for kind in ("http_hang", "http_500", "http_503", "http_html"):
            if self._simulation.faulty(kind, client):
                return kind
        return None

    def _mangle(self, client: int) -> list[int]:
        """Return by how much later each copy of a hosted frame comes."""
        chance = 0.5 if self._simulation.faulty("mangle", client) else 0.05
        copies = [0]
        if self._random.random() < chance:
            copies = self._random.choice(([], [0, 0], [LOST_MS], [0, LOST_MS]))
        return copies

    def _delay(self, client: int) -> int:
        delay = self._random.randint(*DELAY_MS)
        if self._simulation.faulty("slow", client):
            delay += self._random.randrange(SLOW_MS)
        return delay
