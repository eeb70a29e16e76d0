"""The frames of a WebSocket as Server-Sent Events, for where sockets do not pass."""

from typing import Any

import orjson

from realtime_bridge.model.position import Position
from realtime_bridge.server.auth.tokens import Principal
from realtime_bridge.server.connections.asgi import ASGIConnection
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.endpoints.requested_positions import (
    Positions,
    read_channel,
    read_positions,
)
from realtime_bridge.server.http.request import HTTPError, Request, Send
from realtime_bridge.server.http.response import Response

RETRY_MS = 3_000
"""How long an `EventSource` waits before it connects anew."""


async def open_stream(engine: ServerContext, request: Request) -> tuple[Principal, Positions]:
    """Read who asks for a stream, and of what.

    `POST` has the body of a poll. `GET ?channel=` is for a plain `EventSource`: one channel, the
    application's own session, and `Last-Event-ID` as the position.

    Raises:
        HTTPError: the request is malformed, or nobody's.

    """
    if request.method == "POST":
        body = await request.json()
        limit = engine.settings.limit_channels_per_connection
        return await engine.identify(request), read_positions(body, limit)
    if request.method != "GET":
        raise HTTPError(405, "bad_method", "Use GET, POST", headers={"allow": "GET, POST"})
    channel = read_channel(request.query_params.get("channel", ""))
    return await engine.identify(request), {channel: _last_event(request)}


def stream_response() -> Response:
    """Return the head of a stream; proxies are told not to hold it back."""
    return Response(headers={"content-type": "text/event-stream", "x-accel-buffering": "no"})


class StreamConnection(ASGIConnection):
    """A connection on which only the server speaks: a client recovers by asking for a new one."""

    def __init__(self, engine: ServerContext, request: Request, send: Send) -> None:
        super().__init__(engine)
        self._request = request
        self._send = send

    async def serve(self, head: Response, principal: Principal, positions: Positions) -> None:
        """Send the stream until either side ends it."""
        await self._send({"type": "http.response.start", **head.start()})
        await self._body(f"retry: {RETRY_MS}\n\n".encode())
        await self.run(principal, positions)
        if await self.finish():
            await self._send({"type": "http.response.body", "body": b""})

    async def write(self, frame: bytes) -> None:
        """Send one frame as an event, with its position as the id."""
        await self._body(b"".join((_id(orjson.loads(frame)), b"data: ", frame, b"\n\n")))

    async def listen(self) -> None:
        """Wait until the client is gone."""
        await self._request.gone()

    async def _body(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})


def _id(fields: dict[str, Any]) -> bytes:
    if fields["type"] not in ("event", "subscribed", "reset") or "epoch" not in fields:
        return b""
    return f"id: {fields['epoch']}:{fields['offset']}\n".encode()


def _last_event(request: Request) -> Position | None:
    text = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
    try:
        return Position.parse(text) if text else None
    except ValueError as error:
        raise HTTPError(400, "bad_position", str(error)) from error
