"""HTTP protocol for uvicorn whose requests have limits of size and time."""

import asyncio
import time
from typing import Any, ClassVar

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from realtime_bridge.server.connections.fast.http_limits import HTTPLimits
from realtime_bridge.server.connections.fast.late_requests import is_late
from realtime_bridge.server.connections.fast.pending_requests import pending_of
from realtime_bridge.server.connections.fast.request_progress import RequestProgress
from realtime_bridge.server.connections.fast.response_bytes import rejection
from realtime_bridge.server.connections.fast.response_order import ResponseOrder
from realtime_bridge.server.context import STATE
from realtime_bridge.server.http.cors import CORSPolicy
from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.overload import (
    EXTENSION,
    HINT,
    REASON,
    client_route,
    refusal,
)
from realtime_bridge.server.rejection_log import HINT as ADDRESS_HINT

_PIECE_BYTES = 8 * 1024
"""The bytes that are parsed between two looks at the limits."""

_LATE = "request not sent in time"
_NO_HTTP = "bytes that are no HTTP request"
_NO_HTTP_HINT = "check that your proxy and its health checks speak HTTP to this port, without TLS"

_HEADER_BYTES = 4
"""Bytes of a header beside its name and value."""


class LimitedHTTP(HttpToolsProtocol):
    """HTTP class for uvicorn with limits; uvicorn's own limits no head, and waits without an end.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's connections and tasks.
        app_state: the lifespan state.

    """

    limits: ClassVar[HTTPLimits] = HTTPLimits()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._arguments: tuple[Config, ServerState, dict[str, Any]] = (
            config,
            server_state,
            app_state,
        )
        self.loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self._is_new = True
        """True until uvicorn's part of this object exists: a usual upgrade does not need it."""
        self._pending = pending_of(server_state, self.limits.pending, self.limits.waiting)
        self._deadline: asyncio.TimerHandle | None = None
        self._unread = b""
        self._is_rejected = False
        """True after a request that uvicorn's part did not see."""
        self._progress = RequestProgress(self.limits.head_bytes)
        self._order = ResponseOrder()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        self.transport = transport
        self._arguments[1].connections.add(self)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._pending.discard(self)
        self._set_deadline(None)
        self._order.disconnect()
        if self._is_new:
            self._arguments[1].connections.discard(self)
        else:
            super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection, after the response to a request."""
        if self._is_new:
            self.transport.close()
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse bytes in pieces until the client goes beyond a limit."""
        self._begin()
        self._unread += data
        self._parse()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over."""
        if self._is_rejected:
            return  # the parser reports the upgrade after the head that was rejected
        self._pending.discard(self)
        self._set_deadline(None)
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._progress.begin()
        if not self._order.is_first:
            self._wait_for_request()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Add a part of the URL."""
        self._progress.add_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; ignore trailers, which would be taken for headers that a proxy checked."""
        if self._progress.in_head:
            self._progress.add_head(len(name) + len(value) + _HEADER_BYTES)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the body."""
        self._set_deadline(None)
        if not self._progress.begin_body():
            self._reject_head()
        elif not self._is_rejected and not self._is_refused(self.url):
            before = self.cycle
            super().on_headers_complete()
            if self.cycle is not before:
                self._order.add(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        self._progress.add_body(len(body))
        if not self._is_rejected:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._progress.end()
        self._pending.discard(self)
        self._set_deadline(None)
        if not self._is_rejected:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one's body."""
        self._order.complete(time.monotonic())
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._progress.in_body:
            self._set_deadline(self.limits.discard)
        elif not self.pipeline and not self._progress.has_begun:
            self._pending.add(self, self._abort)  # uvicorn's keep-alive ends it
        if self._unread:
            self._parse()

    def _begin(self) -> None:
        """Make uvicorn's part of this object, once."""
        if not self._is_new:
            return
        transport, self._is_new = self.transport, False
        super().__init__(*self._arguments, self.loop)
        super().connection_made(transport)

    def _parse(self) -> None:
        """Parse the bytes, up to the next request that has to wait for the one before."""
        unread, at = self._unread, 0
        self._unread = b""
        while at < len(unread) and not self._is_over():
            if self.pipeline:
                # A piece has hundreds of small requests, each of which takes memory.
                self._unread = unread[at:]
                self.flow.pause_reading()
                return
            piece = unread[at : at + _PIECE_BYTES]
            at += len(piece)
            self._feed(piece)

    def _feed(self, piece: bytes) -> None:
        self._progress.begin_piece()
        self._unset_keepalive_if_required()
        # Uvicorn logs a line for each of both errors: a scanner, or one client, would fill the log.
        try:
            self.parser.feed_data(piece)
        except HttpParserError:
            if not self._is_rejected:
                message = "The request is no valid HTTP: send another one"
                self._reject(HTTPError(400, "no_http", message), _NO_HTTP, _NO_HTTP_HINT)
        except HttpParserUpgrade:
            # An upgrade to another protocol is ignored, and its request answered (RFC 9110 §7.8).
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        within_limit = self._progress.end_piece(len(piece))
        if self._is_over():
            return
        if not within_limit:
            self._reject_head()
        elif self._progress.in_body and self._deadline is None:
            self._set_deadline(self.limits.body)

    def _is_over(self) -> bool:
        """Return whether another protocol has the connection, or it closes."""
        return (
            self._is_rejected
            or self.transport.is_closing()
            or self.transport.get_protocol() is not self
        )

    def _wait_for_request(self) -> None:
        self._pending.add(self, self._abort)
        self._set_deadline(self.limits.head)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._expire) if seconds else None

    def _expire(self) -> None:
        """End a request that did not arrive in time, or continue to wait for a body that does."""
        self._deadline = None
        if self._unread:
            self._set_deadline(self.limits.head)  # its bytes wait for the responses before it
        elif self._progress.in_body:
            self._expire_body()
        elif self._progress.has_begun:
            self._reject(self.limits.slow_head(), _LATE)
        else:
            self._pending.report_silence()
            self.transport.close()

    def _expire_body(self) -> None:
        received, self._progress.body_bytes = self._progress.body_bytes, 0
        # A paused transport waits for the application, not for the client.
        if not self.cycle.response_complete and (
            received >= self.limits.body_bytes or self.flow.read_paused
        ):
            self._set_deadline(self.limits.body)
            return
        self._pending.rejections.report(_LATE)
        self._abort()

    def _reject_head(self) -> None:
        self._reject(self.limits.large_head(), "head of a request over its limit")

    def _is_refused(self, url: bytes) -> bool:
        """Refuse a client's request, if this process is late; leave open connections to the app."""
        context = self._arguments[2].get(STATE)
        if context is None or not (route := client_route(url, context.settings.path)):
            return False
        if not self._is_new and self.parser.get_method() == b"OPTIONS":
            return False  # without its answer, a page of another origin cannot read the refusal
        if not self._is_late(route):
            return False
        if not self._order.is_first:
            self.scope["extensions"] = {EXTENSION: {}}
            return False
        context.connections.statistics.refuse("overloaded", REASON)
        headers = {} if self._is_new else dict(self.headers)  # a socket's upgrade needs none
        origin = headers.get(b"origin", b"").decode("latin-1")
        cors = CORSPolicy(context.authenticator.origins).headers(origin)
        self._reject(refusal(cors), REASON, HINT)
        return True

    def _is_late(self, route: str) -> bool:
        """Record how long a request waited, and return whether it is refused."""
        overload = self._pending.overload
        return is_late(route, self.transport, self._order, overload, self.loop.time())

    def _reject(self, error: HTTPError, reason: str, hint: str = ADDRESS_HINT) -> None:
        """Answer with an error and close; without an answer, where another one has begun."""
        self._pending.rejections.report(reason, hint)
        self._is_rejected = True
        self._pending.discard(self)
        self._set_deadline(None)
        if not self._order.accepts_rejection(in_body=self._progress.in_body):
            self._abort()
            return
        self._order.disconnect()
        self.transport.write(rejection(error))
        self.loop.call_later(self.limits.linger, self._abort)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _abort(self) -> None:
        """End the connection at once, and have the application informed."""
        # Before the loop reports the loss, a write to the transport would raise.
        self._order.disconnect()
        self.transport.abort()
