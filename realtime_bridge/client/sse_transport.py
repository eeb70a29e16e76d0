"""The same messages as server-sent events, for networks that block WebSockets."""

import asyncio
import logging
from contextlib import aclosing
from typing import Any

from realtime_bridge.client.bridge_http import StreamFailedError
from realtime_bridge.client.descriptor import RouteMissingError
from realtime_bridge.client.transport import (
    INVALID_MESSAGE,
    Message,
    TransportHandlers,
    TransportTools,
    log_connection_failure,
)
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.messages import ProtocolError

CODES: dict[int | None, CloseCode] = {
    401: CloseCode.TOKEN,
    403: CloseCode.FORBIDDEN,
    429: CloseCode.DRAINING,
    503: CloseCode.DRAINING,
}
"""Close codes of HTTP statuses; others are `ABNORMAL`."""

_logger = logging.getLogger("realtime_bridge.client")


class SSETransport:
    """Stream of server-sent events, shaped like a WebSocket.

    Only the server sends on a stream. So a subscription that changes, or a fresh token, leads to
    a new request with the positions of all channels.

    Args:
        tools: Parts of the client.
        handlers: Receiver of the messages.

    """

    def __init__(self, tools: TransportTools, handlers: TransportHandlers) -> None:
        self._tools = tools
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._stream: asyncio.Task[None] | None = None
        self._token = self._nonce = ""
        self._is_restarting = False
        self._last_message = 0.0
        self._code: int = CloseCode.ABNORMAL
        self._asked: dict[str, Any] = {}
        """Positions in the current request that the server has not answered yet."""

    async def run(self) -> None:
        """Open streams until one ends by itself."""
        try:
            self._handlers.opened()
            code, reason = await self._end
        finally:
            self.close()
        self._handlers.closed(code, reason)

    def send(self, message: Message) -> None:
        """Send a message: as a request for a new stream where one is necessary."""
        kind = message["type"]
        if kind == "connect":
            self._token, self._nonce = message["token"], message["nonce"]
            self._restart()
        elif kind == "token":
            # The server ends a stream whose token has expired.
            self._token = message["token"]
            self._restart()
        elif kind == "subscribe":
            asked = self._asked.get(message["channel"], "nothing")
            if asked != message.get("position"):
                self._restart()
        elif kind == "ping":
            self._answer_ping()

    def close(self) -> None:
        """End the stream."""
        if self._stream:
            self._stream.cancel()
        if not self._end.done():
            self._end.set_result((CloseCode.NORMAL, ""))

    def _answer_ping(self) -> None:
        """Answer a ping for the server: its heartbeats show that the stream works."""
        age = self._loop.time() - self._last_message
        if age < self._tools.timing.sse_freshness / 1_000:
            self._loop.call_soon(self._receive, {"type": "pong"})

    def _restart(self) -> None:
        # Subscriptions of several channels come together: one request serves them all.
        if not self._is_restarting:
            self._is_restarting = True
            self._loop.call_soon(self._open)

    def _open(self) -> None:
        self._is_restarting = False
        if self._end.done():
            return
        if self._stream:
            self._stream.cancel()
        positions = self._tools.channels.first_positions(self._tools.descriptors.channel_limit)
        self._asked = dict(positions)
        self._stream = asyncio.create_task(self._read({"positions": positions}))

    async def _read(self, fields: dict[str, Any]) -> None:
        code: int = CloseCode.ABNORMAL
        reason = ""
        try:
            url = self._tools.descriptors.url("sse")
            async with aclosing(self._tools.http.stream(url, fields, self._token)) as stream:
                async for data in stream:
                    self._last_message = self._loop.time()
                    # Answers for positions before a poll or an event: the next stream has others.
                    if not self._is_restarting:
                        self._receive(messages.decode_object(data))
            code, reason = self._code, "the stream ended"
        except StreamFailedError as error:
            reason = str(error)
            _logger.info("stream failed: status=%s error=%r", error.status, error)
            code = CODES.get(error.status, self._code)
            if error.code is not None:
                # HTTP refuses where a WebSocket would send `error` before it closes.
                fields = {"code": error.status, "reason": error.code, "message": str(error)}
                self._receive({"type": "error", **fields})
        except (ProtocolError, RouteMissingError) as error:
            reason = INVALID_MESSAGE if isinstance(error, ProtocolError) else str(error)
            _logger.info("stream failed: error=%r", error)
        except Exception as error:  # uvloop's RuntimeError of a reset among them
            log_connection_failure(_logger, "stream failed", error)
        finally:
            self._end_unless_replaced(code, reason)

    def _end_unless_replaced(self, code: int, reason: str) -> None:
        # Another stream may serve already; the end of the one before it means nothing.
        if self._stream is asyncio.current_task() and not self._end.done():
            self._end.set_result((code, reason))

    def _receive(self, message: Message) -> None:
        if self._end.done():
            return
        kind = message.get("type")
        if kind in ("subscribed", "refused"):
            self._asked.pop(str(message.get("channel")), None)
        elif kind == "error" and isinstance(message.get("code"), int):
            # HTTP has no close codes: the server's last error stands for one.
            self._code = message["code"]
        elif kind == "welcome":
            # The answer to our own request needs no nonce to be distinguished from an older one.
            # Another server may answer, whose clock differs.
            message = {**message, "nonce": self._nonce, "restarted": True}
        self._handlers.receive(message)
