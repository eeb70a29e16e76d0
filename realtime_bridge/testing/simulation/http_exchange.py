"""HTTP request that a simulated server answers through ASGI."""

import asyncio
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from realtime_bridge.server.http.request import Message, Scope
from realtime_bridge.testing.simulation.inbox import Inbox
from realtime_bridge.testing.simulation.network import Link, Pipe


@dataclass(slots=True)
class Head:
    """Status and headers of a response."""

    status: int
    headers: Mapping[str, str]


@dataclass(slots=True)
class Body:
    """Part of a response's body."""

    data: bytes
    has_more: bool


class Lost:
    """End of a connection without a close."""


class HTTPExchange:
    """Request, and the response to it, on a connection of its own.

    Args:
        node: the server process.
        link: the client's way to the server.
        client: the number of the client.

    """

    def __init__(self, node: Any, link: Link, client: int) -> None:
        self.client: int = client
        self.node: Any = node
        self.inbox: Inbox[Head | Body | Lost] = Inbox()
        """Response, as far as it has arrived at the client."""
        loop, process = node.loop, node.process
        client_context = copy_context()
        self.up: Pipe = Pipe(loop, link.up, self._on_disconnect, process.context)
        self.down: Pipe = Pipe(loop, link.down, self.inbox.put, client_context)
        self.opened_at: float = loop.now
        self._gone = loop.create_future()
        self._body: bytes | None = None
        self._head: Head | None = None
        self._is_over = False

    def begin(self, scope: Scope, body: bytes) -> None:
        """Let the server answer."""
        self._body = body
        self.node.exchanges[self] = None
        self.node.spawn(self._serve(scope))

    def disconnect(self) -> None:
        """Close the connection at the client's side."""
        self.up.send(Lost())
        self.node.exchanges.pop(self, None)

    def reset(self) -> None:
        """Break the connection on both sides, as a middlebox or a killed process does."""
        self.node.exchanges.pop(self, None)
        self.up.is_broken = self.down.is_broken = True
        self.inbox.put(Lost())
        self._on_disconnect(Lost())

    async def _serve(self, scope: Scope) -> None:
        try:
            await self.node.bridge(scope, self._receive, self._send)
        finally:
            if not self._is_over:
                self.down.send(Lost())

    def _on_disconnect(self, _: Lost) -> None:
        if not self._gone.done():
            self._gone.set_result(None)

    async def _receive(self) -> Message:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body}
        await asyncio.shield(self._gone)
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone.done():
            raise OSError("the client has disconnected")
        if message["type"] == "http.response.start":
            pairs = message["headers"]
            headers = {name.decode().lower(): text.decode() for name, text in pairs}
            self._head = Head(message["status"], headers)
            return
        data, has_more = message.get("body", b""), message.get("more_body", False)
        if self._head:
            self.down.send(self._head)
            self._head = None
        self._is_over = not has_more
        self.down.send(Body(data, has_more), len(data))
        while has_more and not self.down.has_room and not self._gone.done():
            await self._room()

    async def _room(self) -> None:
        """Wait until the network takes more, or the client is gone."""
        progress = self.node.loop.create_future()
        self.down.on_progress = lambda: progress.done() or progress.set_result(None)
        await asyncio.wait([progress, self._gone], return_when=asyncio.FIRST_COMPLETED)
