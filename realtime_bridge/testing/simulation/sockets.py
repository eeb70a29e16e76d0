"""WebSocket between a simulated client and a server: what both shells have in common."""

from contextvars import copy_context
from typing import Any

from realtime_bridge.testing.simulation.http_exchange import Lost
from realtime_bridge.testing.simulation.inbox import Inbox
from realtime_bridge.testing.simulation.network import Link, Pipe


class Socket:
    """WebSocket connection.

    The client receives in `inbox`: an int is the HTTP status that answers the handshake (101
    accepts), a text is a message, a tuple is a close frame with its code and reason.

    Args:
        node: the server process.
        link: the client's way to the server.
        client: the number of the client.

    """

    def __init__(self, node: Any, link: Link, client: int) -> None:
        self.client: int = client
        self.node: Any = node
        self.inbox: Inbox[int | str | tuple[int, str] | Lost] = Inbox()
        loop = node.loop
        context = copy_context()
        self.up: Pipe = Pipe(loop, link.up, self.on_client_item, node.process.context)
        self.down: Pipe = Pipe(loop, link.down, self.on_server_item, context)
        self.is_reset: bool = False
        self.opened_at: float = loop.now

    def begin(self, path: str) -> None:
        """Send the handshake."""
        raise NotImplementedError

    def send_text(self, text: str) -> None:
        """Send a message of the client."""
        raise NotImplementedError

    def on_client_item(self, item: Any) -> None:
        """Handle what the client sent, in the server's process."""
        raise NotImplementedError

    def on_server_item(self, item: Any) -> None:
        """Handle what the server sent, in the client's process."""
        raise NotImplementedError

    def on_server_lost(self) -> None:
        """Handle the loss of the connection, in the server's process."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close the connection at the client's side, without a close frame."""
        self.up.send(Lost())

    def reset(self) -> None:
        """Break the connection on both sides, as a middlebox or a killed process does."""
        if self.is_reset:
            return
        self.is_reset = True
        self.node.sockets.pop(self, None)
        self.up.is_broken = self.down.is_broken = True
        self.inbox.put(Lost())
        self.node.loop.call_soon(self.on_server_lost, context=self.node.process.context)

    def break_silently(self, which: str) -> None:
        """Lose what is sent in one direction, or in both, as a half-open connection does."""
        self.up.is_broken |= which in ("up", "both")
        self.down.is_broken |= which in ("down", "both")
