"""Network of a simulation: ordered sockets, HTTP requests, and their faults."""

from typing import Any

from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.testing.simulation.connection import Connection, Message
from realtime_bridge.testing.simulation.deployment import Deployment, OnAnswer, SimulatedClient

DELAY_MS = (5, 120)
SLOW_MS = 2_000
REORDER_MS = 500
"""Largest delay by which a provider delivers a message after its successor."""

KILLED_AFTER_MS = 300
"""Uptime of a socket that a proxy resets (fault `kill`)."""

NO_ANSWER = 0
"""Status of a request without an answer."""


class Network:
    """Connections and requests between the clients and the servers."""

    def __init__(self, simulation: Deployment) -> None:
        self._simulation = simulation
        self._random = simulation.random

    def open(self, client: SimulatedClient, number: int) -> None:
        """Open a socket; at an offline client the attempt has no result."""
        simulation, delay = self._simulation, self._delay(client.number)
        if simulation.has_fault("offline", client.number):
            return
        if simulation.has_fault("refuse", client.number):
            simulation.call_later(delay, client.socket_closed, number, CloseCode.ABNORMAL)
            return
        connection = simulation.servers.accept(client.number, number)
        if connection is None:
            simulation.call_later(delay, client.socket_closed, number, CloseCode.ABNORMAL)
            return
        connection.broken = simulation.has_fault("swallow", client.number)
        # The first message arrives after the opening itself.
        connection.last_arrival = connection.last_arrival_up = simulation.now + delay
        simulation.call_later(delay, client.socket_opened, number, connection)
        if simulation.has_fault("kill", client.number):
            simulation.call_later(
                delay + KILLED_AFTER_MS, simulation.servers.close, connection, CloseCode.ABNORMAL
            )

    def send_to_server(self, connection: Connection, message: Message) -> None:
        """Send a message to the server."""
        if not connection.broken:
            # TCP keeps the order of messages, whatever the delay of each.
            at = max(
                connection.last_arrival_up, self._simulation.now + self._delay(connection.client)
            )
            connection.last_arrival_up = at
            self._simulation.call_at(at, self._simulation.servers.receive, connection, message)

    def send_to_client(self, connection: Connection, message: Message) -> None:
        """Send a message to the client; a provider may lose, repeat or reorder events."""
        if connection.broken or not connection.open:
            return
        client = self._simulation.clients[connection.client]
        delay = self._delay(connection.client)
        # A provider keeps no order between its messages.
        if connection.hosted and message[0] == "event":
            for extra in self._draw_copies(connection.client):
                self._simulation.call_later(
                    delay + extra, client.socket_message, connection, message
                )
            return
        at = max(connection.last_arrival, self._simulation.now + delay)
        connection.last_arrival = at
        self._simulation.call_at(at, client.socket_message, connection, message)

    def deliver_close(self, connection: Connection, code: int) -> None:
        """Notify the client of the end of a socket, after the messages on it."""
        if not connection.broken:
            client = self._simulation.clients[connection.client]
            at = max(connection.last_arrival, self._simulation.now + self._delay(connection.client))
            self._simulation.call_at(at, client.socket_closed, connection.number, code)

    def request(
        self, client: SimulatedClient, name: str, argument: Any, on_answer: OnAnswer
    ) -> None:
        """Send an HTTP request; a request that hangs has no answer."""
        number, delay = client.number, self._delay(client.number)
        fault = self._http_fault(number)
        if fault == "http_hang":
            return
        if fault:
            status = {"http_500": 500, "http_503": 503}.get(fault, NO_ANSWER)
            self._simulation.call_later(2 * delay, on_answer, status, None)
            return
        self._simulation.call_later(delay, self._handle, client, name, argument, on_answer)

    def _handle(
        self, client: SimulatedClient, name: str, argument: Any, on_answer: OnAnswer
    ) -> None:
        servers, delay = self._simulation.servers, self._delay(client.number)
        if not servers.ready():
            self._simulation.call_later(delay, on_answer, NO_ANSWER, None)
            return
        if name == "describe":
            status, answer = servers.describe(client.number, renew=argument)
        elif name == "poll":
            status, answer = servers.poll(client.number, *argument)
        else:
            status, answer = 200, dict(self._simulation.application.get(argument, {}))
        # The client may have gone offline during the request.
        if not self._simulation.has_fault("offline", client.number):
            self._simulation.call_later(delay, on_answer, status, answer)

    def _http_fault(self, client: int) -> str | None:
        if self._simulation.has_fault("offline", client):
            return "http_hang"
        for kind in ("http_hang", "http_500", "http_503", "http_html"):
            if self._simulation.has_fault(kind, client):
                return kind
        return None

    def _draw_copies(self, client: int) -> list[int]:
        """Draw the extra delay of each copy of a provider's message; no copy is a lost message."""
        chance = 0.5 if self._simulation.has_fault("mangle", client) else 0.05
        copies = [0]
        if self._random.random() < chance:
            copies = self._random.choice(([], [0, 0], [REORDER_MS], [0, REORDER_MS]))
        return copies

    def _delay(self, client: int) -> int:
        delay = self._random.randint(*DELAY_MS)
        if self._simulation.has_fault("slow", client):
            delay += self._random.randrange(SLOW_MS)
        return delay
