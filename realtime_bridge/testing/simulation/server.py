"""Servers of a simulation: one or more nodes on one log, and a provider."""

from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.testing.simulation.connection import Connection, Message, Node, Positions
from realtime_bridge.testing.simulation.deployment import Deployment

HEARTBEAT_MS = 10_000


class Servers:
    """Nodes and provider, with their connections and tokens.

    Args:
        simulation: the deployment.
        nodes: the number of server processes.
        clients: the number of clients.

    """

    def __init__(self, simulation: Deployment, *, nodes: int, clients: int) -> None:
        self._simulation = simulation
        self.nodes: list[Node] = [Node() for _ in range(nodes)]
        self.connections: list[Connection] = []
        self.generation: int = 0
        self.hosted: bool = simulation.hosted
        self.trouble: bool = False
        self.tokens: list[int] = [0] * clients
        self.revoked: dict[int, int] = {}
        self.logged_out: set[int] = set()
        self._announced_ids: dict[str, tuple[str, dict[int, str]]] = {}
        self._delayed_events: list[Event] = []

    def ready(self) -> list[Node]:
        """Return the nodes that answer."""
        return [node for node in self.nodes if node.up]

    def accept(self, client: int, number: int) -> Connection | None:
        """Accept or reject a socket."""
        nodes = [node for node in self.nodes if node.up and not node.draining]
        if not self.hosted and not nodes:
            return None
        node = None if self.hosted else self._simulation.random.choice(nodes)
        connection = Connection(number, client, node, self.hosted)
        self.connections.append(connection)
        self._simulation.call_later(self._heartbeat_ms(), self._heartbeat, connection)
        return connection

    def receive(self, connection: Connection, message: Message) -> None:
        """Handle a message from a client."""
        if connection.open:
            getattr(self, f"_on_{message[0]}")(connection, *message[1:])

    def describe(self, client: int, *, renew: bool) -> tuple[int, Any]:
        """Answer `POST connect`: a status, and the token, generation and delivery."""
        if client in self.revoked:
            return 403, None
        if renew:
            self.logged_out.discard(client)
        if client in self.logged_out:
            return 401, None
        return 200, (self.tokens[client], self.generation, self.hosted)

    def poll(self, client: int, token: int, positions: Positions) -> tuple[int, Any]:
        """Answer `POST poll`: a status, and the log's answer for each channel."""
        if client in self.revoked:
            return 403, None
        if token != self.tokens[client]:
            return 401, None
        answers = {name: self._simulation.log.read(name, at) for name, at in positions.items()}
        return 200, (answers, self.generation, not self.trouble)

    def announce(self, event: Event) -> None:
        """Push an appended event; rotate the epoch if the log has lost events."""
        if self._contradicts(event):
            self.rotate_epoch(event.channel)
        elif self.trouble:
            self._delayed_events.append(event)
        else:
            self._push(event)

    def verify_position(self, channel: str) -> None:
        """Compare the log with the announced events, as after any gap in the feed."""
        epoch, ids = self._announced_ids.get(channel, ("", {}))
        top = self._simulation.log.top(channel)
        if top.epoch == epoch and (
            top.offset < max(ids, default=0) or ids.get(top.offset, top.id) != top.id
        ):
            self.rotate_epoch(channel)

    def rotate_epoch(self, channel: str) -> None:
        """End an epoch, and send a reset to every subscriber."""
        self._simulation.log.rotate_epoch(channel)
        self.send_reset(channel)

    def send_reset(self, channel: str) -> None:
        """Send a reset to the subscribers of the nodes."""
        # A provider cannot send resets: its clients compare their positions themselves.
        top = self._simulation.log.top(channel)
        for connection in list(self.connections):
            if channel in connection.subscriptions and not connection.hosted:
                connection.subscriptions[channel] = top.offset
                self._send(connection, "reset", channel, Reset(reason="epoch", top=top))

    def send_status(self, *, ok: bool) -> None:
        """Send the health to the clients of the nodes; push the delayed events on recovery."""
        self.trouble = not ok
        for connection in list(self.connections):
            if not connection.hosted:
                self._send(connection, "status", ok)
        if ok:
            delayed, self._delayed_events = self._delayed_events, []
            for event in delayed:
                # A reset has covered the events of an ended epoch.
                if self._simulation.log.top(event.channel).epoch == event.position.epoch:  # type: ignore[union-attr]
                    self._push(event)

    def change_delivery(self, *, hosted: bool) -> None:
        """Switch the delivery: later events go either to the provider or to the nodes."""
        self.generation += 1
        self.hosted = hosted
        for connection in self.connections:
            if connection.hosted and not hosted:
                connection.subscriptions.clear()

    def close(self, connection: Connection, code: int) -> None:
        """Close a socket from the server's side."""
        if connection.open:
            self.remove(connection)
            self._simulation.network.deliver_close(connection, code)

    def remove(self, connection: Connection) -> None:
        """Remove a socket."""
        connection.open = False
        if connection in self.connections:
            self.connections.remove(connection)

    def check_tokens(self, client: int) -> None:
        """Close the client's sockets whose token has expired."""
        for connection in list(self.connections):
            if connection.client == client and connection.token != self.tokens[client]:
                self.close(connection, CloseCode.TOKEN)

    def _push(self, event: Event) -> None:
        assert event.position
        for connection in list(self.connections):
            if event.channel in connection.subscriptions and not connection.paused:
                self._send(connection, "event", event)

    def _contradicts(self, event: Event) -> bool:
        """Return whether another event was announced with this epoch and offset."""
        assert event.position
        epoch, ids = self._announced_ids.get(event.channel, ("", {}))
        if epoch != event.position.epoch:
            epoch, ids = event.position.epoch, {}
            self._announced_ids[event.channel] = epoch, ids
        return ids.setdefault(event.position.offset, event.id) != event.id

    def _on_connect(self, connection: Connection, token: int) -> None:
        if connection.client in self.revoked:
            self.close(connection, CloseCode.FORBIDDEN)
        elif token != self.tokens[connection.client]:
            self.close(connection, CloseCode.TOKEN)
        else:
            connection.token = token
            self._send(connection, "welcome", self.generation)

    def _on_token(self, connection: Connection, token: int) -> None:
        connection.token = token
        self.check_tokens(connection.client)

    def _on_subscribe(self, connection: Connection, channel: str, after: Position | None) -> None:
        connection.paused = False
        if connection.hosted:
            connection.subscriptions[channel] = 0
            if len(connection.subscriptions) == len(
                self._simulation.clients[connection.client].channels.reducers
            ):
                self._send(connection, "joined")
            return
        answer = self._simulation.log.read(channel, after)
        connection.subscriptions[channel] = answer.top.offset
        self._send(connection, "answer", channel, answer)

    def _on_ping(self, connection: Connection) -> None:
        self._send(connection, "pong")

    def _heartbeat(self, connection: Connection) -> None:
        if not connection.open:
            return
        offsets: dict[str, int] = {}
        for channel, offset in () if connection.hosted else connection.subscriptions.items():
            top = self._simulation.log.top(channel).offset
            # A server without its feed does not know the newer offsets.
            if top != offset and not self.trouble:
                offsets[channel] = connection.subscriptions[channel] = top
        generation = 0 if connection.hosted else self.generation
        healthy = connection.hosted or not self.trouble
        self._send(connection, "heartbeat", offsets, generation, healthy)
        self._simulation.call_later(self._heartbeat_ms(), self._heartbeat, connection)

    def _heartbeat_ms(self) -> int:
        return round(HEARTBEAT_MS * self._simulation.random.uniform(0.9, 1.1))

    def _send(self, connection: Connection, *message: Any) -> None:
        self._simulation.network.send_to_client(connection, message)
