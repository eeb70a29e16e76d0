"""Server-Sent Events: the messages of a WebSocket, for networks that block WebSockets."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import orjson

from realtime_bridge.protocol.wire.server_sent_events import RETRY
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.connections.asgi import ASGIConnection
from realtime_bridge.server.connections.connection import Connection
from realtime_bridge.server.http.request import DISCONNECTED, HTTPError, Request, Send
from realtime_bridge.server.http.requested_positions import RequestedPositions, read_positions
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.services import ConnectionServices


async def open_stream(
    authenticator: Authenticator, request: Request, *, limit: int
) -> tuple[Principal, RequestedPositions]:
    """Return the principal of a request for a stream, and the positions that it starts from.

    Raises:
        HTTPError: the request is malformed, or not authenticated.

    """
    if request.method != "POST":
        raise HTTPError(405, "bad_method", "Use GET, POST", headers={"allow": "GET, POST"})
    body = await request.json()
    return await authenticator.identify(request), read_positions(body, limit)


class StreamConnection(ASGIConnection, Connection):
    """Connection on which only the server sends; a client recovers by opening another."""

    transport = "sse"

    def __init__(self, services: ConnectionServices, request: Request, send: Send) -> None:
        super().__init__(services)
        self._request = request
        self._asgi_send = send

    async def serve(
        self, head: Response, principal: Principal, requested: RequestedPositions
    ) -> None:
        """Send the stream until either side ends it."""
        await self._asgi_send({"type": "http.response.start", **head.start()})
        await self._send_body(RETRY)
        await self.run(partial(self.open, principal, requested))
        if await self.finish():
            # A reader that takes nothing would keep this task without an end.
            with suppress(*DISCONNECTED):
                async with asyncio.timeout(self._services.timing.close):
                    await self._asgi_send({"type": "http.response.body", "body": b""})

    async def transmit(self, message: bytes) -> None:
        """Send one message as an event, with its position as the id."""
        await self._send_body(b"".join((_id(orjson.loads(message)), b"data: ", message, b"\n\n")))

    async def receive_all(self) -> None:
        """Wait until the client disconnects."""
        await self._request.wait_for_disconnect()

    async def _send_body(self, data: bytes) -> None:
        await self._asgi_send({"type": "http.response.body", "body": data, "more_body": True})


def _id(fields: dict[str, Any]) -> bytes:
    if fields["type"] not in ("event", "subscribed", "reset") or "epoch" not in fields:
        return b""
    return f"id: {fields['epoch']}:{fields['offset']}\n".encode()
