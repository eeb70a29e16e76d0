"""The servers of a simulation: one node, or several beside one log, that answer and push."""

from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.testing.simulation.connection import Connection, Message, Node, Positions
from realtime_bridge.testing.simulation.deployment import Deployment

HEARTBEAT_MS = 10_000
RESTART, TOKEN, FORBIDDEN, NORMAL = 1012, 4401, 4403, 1000


class Servers:
    """All nodes, the provider, and what they know."""

    def __init__(self, simulation: Deployment, *, nodes: int, clients: int) -> None:
        self._simulation = simulation
        self.nodes = [Node() for _ in range(nodes)]
        self.connections: list[Connection] = []
        self.generation = 0
        self.hosted = simulation.hosted
        self.trouble = False
        self.tokens = [0] * clients
        self.revoked: dict[int, int] = {}
        self.logged_out: set[int] = set()
        self._seen: dict[str, tuple[str, dict[int, str]]] = {}
        self._held: list[Event] = []

    def ready(self) -> list[Node]:
        """Return the nodes that answer."""
        return [node for node in self.nodes if node.up]

    def accept(self, client: int, number: int) -> Connection | None:
        """Take a new socket, or refuse it."""
        nodes = [node for node in self.nodes if node.up and not node.draining]
        if not self.hosted and not nodes:
            return None
        node = None if self.hosted else self._simulation.random.choice(nodes)
        connection = Connection(number, client, node, self.hosted)
        self.connections.append(connection)
        self._simulation.after(self._heartbeat_ms(), self._heartbeat, connection)
        return connection

    def receive(self, connection: Connection, message: Message) -> None:
        """Take a frame of a client."""
        if connection.open:
            getattr(self, f"_on_{message[0]}")(connection, *message[1:])

    def describe(self, client: int, *, renew: bool) -> tuple[int, Any]:
        """Answer `POST connect`: a status, and what the descriptor says."""
        if client in self.revoked:
            return 403, None
        if renew:
            self.logged_out.discard(client)
        if client in self.logged_out:
            return 401, None
        return 200, (self.tokens[client], self.generation, self.hosted)

    def poll(self, client: int, token: int, positions: Positions) -> tuple[int, Any]:
        """Answer `POST poll`: a status, and per channel what the log reads."""
        if client in self.revoked:
            return 403, None
        if token != self.tokens[client]:
            return 401, None
        answers = {name: self._simulation.log.read(name, at) for name, at in positions.items()}
        return 200, (answers, self.generation, not self.trouble)

    def announce(self, event: Event) -> None:
        """Take an appended event: push it, unless it shows that the log is another one now."""
        if self._contradicts(event):
            self.rotate_epoch(event.channel)
        elif self.trouble:
            self._held.append(event)
        else:
            self._push(event)

    def compare(self, channel: str) -> None:
        """Compare the log with what was seen, as after any interruption."""
        epoch, seen = self._seen.get(channel, ("", {}))
        top = self._simulation.log.top(channel)
        if top.epoch == epoch and (
            top.offset < max(seen, default=0) or seen.get(top.offset, top.id) != top.id
        ):
            self.rotate_epoch(channel)

    def rotate_epoch(self, channel: str) -> None:
        """End an epoch, and tell all who listen."""
        self._simulation.log.rotate_epoch(channel)
        self.send_reset(channel)

    def send_reset(self, channel: str) -> None:
        """Tell all who listen that the channel goes on elsewhere; a provider tells nobody."""
        top = self._simulation.log.top(channel)
        for connection in list(self.connections):
            if channel in connection.told and not connection.hosted:
                connection.told[channel] = top.offset
                self._send(connection, "reset", channel, Reset(reason="epoch", top=top))

    def send_status(self, *, ok: bool) -> None:
        """Tell all clients whether we are well, and push what could not be pushed."""
        self.trouble = not ok
        for connection in list(self.connections):
            if not connection.hosted:
                self._send(connection, "status", ok)
        if ok:
            held, self._held = self._held, []
            for event in held:
                if self._simulation.log.top(event.channel).epoch == event.position.epoch:  # type: ignore[union-attr]
                    self._push(event)

    def move(self, *, hosted: bool) -> None:
        """Change the configuration: from now on only one way is pushed to."""
        self.generation += 1
        self.hosted = hosted
        for connection in self.connections:
            if connection.hosted and not hosted:
                connection.told.clear()

    def close(self, connection: Connection, code: int) -> None:
        """Close a socket from our side."""
        if connection.open:
            self.drop(connection)
            self._simulation.network.deliver_close(connection, code)

    def drop(self, connection: Connection) -> None:
        """Forget a socket."""
        connection.open = False
        if connection in self.connections:
            self.connections.remove(connection)

    def check_tokens(self, client: int) -> None:
        """Close the sockets of a client whose token is no longer good."""
        for connection in list(self.connections):
            if connection.client == client and connection.token != self.tokens[client]:
                self.close(connection, TOKEN)

    def _push(self, event: Event) -> None:
        assert event.position
        for connection in list(self.connections):
            if event.channel in connection.told and not connection.behind:
                self._send(connection, "event", event)

    def _contradicts(self, event: Event) -> bool:
        assert event.position
        epoch, seen = self._seen.get(event.channel, ("", {}))
        if epoch != event.position.epoch:
            epoch, seen = event.position.epoch, {}
            self._seen[event.channel] = epoch, seen
        return seen.setdefault(event.position.offset, event.id) != event.id

    def _on_connect(self, connection: Connection, token: int) -> None:
        if connection.client in self.revoked:
            self.close(connection, FORBIDDEN)
        elif token != self.tokens[connection.client]:
            self.close(connection, TOKEN)
        else:
            connection.token = token
            self._send(connection, "welcome", self.generation)

    def _on_token(self, connection: Connection, token: int) -> None:
        connection.token = token
        self.check_tokens(connection.client)

    def _on_subscribe(self, connection: Connection, channel: str, after: Position | None) -> None:
        connection.behind = False
        if connection.hosted:
            connection.told[channel] = 0
            if len(connection.told) == len(
                self._simulation.clients[connection.client].channels.reducers
            ):
                self._send(connection, "joined")
            return
        answer = self._simulation.log.read(channel, after)
        connection.told[channel] = answer.top.offset
        self._send(connection, "answer", channel, answer)

    def _on_ping(self, connection: Connection) -> None:
        self._send(connection, "pong")

    def _heartbeat(self, connection: Connection) -> None:
        if not connection.open:
            return
        offsets: dict[str, int] = {}
        for channel, told in () if connection.hosted else connection.told.items():
            top = self._simulation.log.top(channel).offset
            if top != told and not self.trouble:
                offsets[channel] = connection.told[channel] = top
        generation = 0 if connection.hosted else self.generation
        self._send(connection, "heartbeat", offsets, generation)
        self._simulation.after(self._heartbeat_ms(), self._heartbeat, connection)

    def _heartbeat_ms(self) -> int:
        return round(HEARTBEAT_MS * self._simulation.random.uniform(0.9, 1.1))

    def _send(self, connection: Connection, *message: Any) -> None:
        self._simulation.network.down(connection, message)
