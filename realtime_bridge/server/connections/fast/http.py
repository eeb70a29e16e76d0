"""HTTP protocol for uvicorn whose requests have limits of size and time."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from realtime_bridge.server.connections.fast.immediate import find_answer, serves_alone
from realtime_bridge.server.connections.fast.pending_requests import pending_of
from realtime_bridge.server.connections.fast.response_bytes import encode_response, rejection
from realtime_bridge.server.connections.fast.upgrade import WebSocket
from realtime_bridge.server.connections.fast.upgrade_request import read_upgrade
from realtime_bridge.server.context import STATE, ServerContext
from realtime_bridge.server.http.cors import CORSPolicy
from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.overload import (
    EXTENSION,
    HINT,
    REASON,
    client_route,
    refusal,
    seconds_waited,
)
from realtime_bridge.server.rejection_log import HINT as ADDRESS_HINT


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPLimits:
    """Limits of requests, in bytes and in seconds.

    Args:
        head_bytes: the largest head of a request; the trailers of a body have the same limit.
        head: from the connection, or from a request's first byte, to the end of the head.
        body: a body makes progress by `body_bytes` in this time, or ends.
        body_bytes: the progress of a body.
        discard: the rest of a body is read for this time after its response.
        linger: the bytes of a rejected client are read for this time, because a close before them
            would discard the response.
        waiting: while all requests of clients wait longer for this process, they are refused.
        pending: the most connections without a complete request; half of the process's file
            descriptors by default.

    """

    head_bytes: int = 64 * 1024
    head: float = 10.0
    body: float = 20.0
    body_bytes: int = 16 * 1024
    discard: float = 10.0
    linger: float = 1.0
    waiting: float = 2.0
    pending: int | None = None


_PIECE_BYTES = 8 * 1024
"""The bytes that are parsed between two looks at the limits."""

_LATE = "request not sent in time"

_NO_HTTP = "bytes that are no HTTP request"
_NO_HTTP_HINT = "check that your proxy and its health checks speak HTTP to this port, without TLS"

_SLACK_SECONDS = 0.1
"""Inaccuracy of the kernel's times, and of the moment at which a response is complete."""

_HEADER_BYTES = 4
"""Bytes of a header beside its name and value."""

_Arguments = tuple[Config, ServerState, dict[str, Any]]


class HTTP(HttpToolsProtocol):
    """HTTP class for uvicorn's `http=`; uvicorn's own limits no head, and waits without an end.

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
        self._arguments: _Arguments = (config, server_state, app_state)
        self.loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self._is_new = True
        """True until uvicorn's part of this object exists: a usual upgrade does not need it."""
        self._pending = pending_of(server_state, self.limits.pending, self.limits.waiting)
        self._deadline: asyncio.TimerHandle | None = None
        self._unread = b""
        self._in_head = True
        self._in_body = False
        self._has_begun = False
        self._is_rejected = False
        """True after a request that uvicorn's part did not see."""
        self._head_bytes = 0
        self._has_progress = False
        self._idle_bytes = 0
        """Bytes since the parser's last progress: the head so far, or trailers."""
        self._body_bytes = 0
        self._unanswered: deque[RequestResponseCycle] = deque()
        """Requests without a complete response, oldest first; uvicorn knows the last one alone."""
        self._answered_at: float | None = None
        """Moment of the last complete response; None before the first one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        self.transport = transport
        self._arguments[1].connections.add(self)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._pending.discard(self)
        self._set_deadline(None)
        self._disconnect()
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
        """Parse bytes in pieces, and reject the client that goes beyond a limit."""
        if self._is_rejected:
            return
        if self._is_new:
            if self._upgrade(data):
                return
            self._begin()
        if self._answer_at_once(data):
            return
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
        self._in_head, self._has_begun, self._head_bytes = True, True, 0
        if self.cycle is not None or self._answered_at is not None:
            self._wait_for_request()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Add a part of the URL."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; ignore trailers, which would be taken for headers that a proxy checked."""
        if self._in_head:
            self._head_bytes += len(name) + len(value) + _HEADER_BYTES
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the body."""
        self._in_head, self._in_body, self._has_progress = False, True, True
        self._body_bytes = 0
        self._set_deadline(None)
        if self._head_bytes > self.limits.head_bytes:
            self._reject_head()
        elif not self._is_rejected and not self._is_refused(self.url):
            before = self.cycle
            super().on_headers_complete()
            if self.cycle is not before:
                self._unanswered.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        self._has_progress = True
        self._body_bytes += len(body)
        if not self._is_rejected:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._in_head, self._in_body, self._has_begun = True, False, False
        self._has_progress = True
        self._pending.discard(self)
        self._set_deadline(None)
        if not self._is_rejected:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one's body."""
        self._unanswered.popleft()
        self._answered_at = time.monotonic()
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._in_body:
            self._set_deadline(self.limits.discard)
        elif not self.pipeline and not self._has_begun:
            self._pending.add(self, self._abort)  # uvicorn's keep-alive ends it
        if self._unread:
            self._parse()

    def _upgrade(self, data: bytes) -> bool:
        """Open the WebSocket that a client's first bytes request; return False for other bytes.

        Uvicorn would parse the request, write it out again, and have it parsed a second time.
        """
        config, server_state, app_state = self._arguments
        # It is None without a class for WebSockets.
        websocket: Any = config.ws_protocol_class
        request = read_upgrade(data) if websocket is WebSocket else None
        if request is None:
            return False
        if self._is_refused(request.scope["path"].encode("latin-1")):
            return True
        upgrade = WebSocket(config, server_state, app_state)
        if not upgrade.open_at_once(self.transport, request):
            return False
        self._pending.discard(self)
        self._set_deadline(None)
        server_state.connections.discard(self)
        return True

    def _answer_at_once(self, data: bytes) -> bool:
        """Answer a whole request that waits for nothing; return False for all others.

        Uvicorn's parser, its task and two calls to send a response cost more than the answer.
        """
        context: ServerContext | None = self._arguments[2].get(STATE)
        if context is None or not self._is_idle() or not serves_alone(self, context):
            return False
        answer = find_answer(context, data)
        response = None if answer is None or self._is_late("poll") else answer()
        if response is None:
            return False
        self._unset_keepalive_if_required()
        self._set_deadline(None)
        self._answered_at = time.monotonic()
        self.transport.write(encode_response(response, self.server_state.default_headers))
        self._pending.add(self, self._abort)
        self.server_state.total_requests += 1
        self.timeout_keep_alive_task: asyncio.TimerHandle | None = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        return True

    def _is_idle(self) -> bool:
        """Return whether the next bytes are a request's first, and nothing is before its answer."""
        return (
            not (self._has_begun or self._unread or self.flow.write_paused)
            and (self.cycle is None or self.cycle.response_complete)
            and not self.transport.is_closing()
        )

    def _begin(self) -> None:
        """Make uvicorn's part of this object."""
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
        self._has_progress = False
        self._unset_keepalive_if_required()
        # Uvicorn logs a line for each of both errors: a scanner, or one client, would fill the log.
        try:
            self.parser.feed_data(piece)
        except HttpParserError:
            if not self._is_rejected:
                invalid = HTTPError(
                    400, "no_http", "The request is no valid HTTP: send another one"
                )
                self._reject(invalid, _NO_HTTP, _NO_HTTP_HINT)
        except HttpParserUpgrade:
            # An upgrade to another protocol is ignored, and its request answered (RFC 9110 §7.8).
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        self._idle_bytes = 0 if self._has_progress else self._idle_bytes + len(piece)
        if self._is_over():
            return
        if self._idle_bytes > self.limits.head_bytes:
            self._reject_head()
        elif self._in_body and self._deadline is None:
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
        elif self._in_body:
            self._expire_body()
        elif self._has_begun:
            limit = f"The head of the request took over {self.limits.head:g} s: send it again"
            self._reject(HTTPError(408, "too_slow", limit), _LATE)
        else:
            self._pending.report_silence()
            self.transport.close()

    def _expire_body(self) -> None:
        received, self._body_bytes = self._body_bytes, 0
        # A paused transport waits for the application, not for the client.
        if not self.cycle.response_complete and (
            received >= self.limits.body_bytes or self.flow.read_paused
        ):
            self._set_deadline(self.limits.body)
            return
        self._pending.rejections.report(_LATE)
        self._abort()

    def _reject_head(self) -> None:
        limit = f"over {self.limits.head_bytes:,} bytes: send fewer or shorter headers"
        large = HTTPError(431, "head_too_large", f"The head of the request is {limit}")
        self._reject(large, "head of a request over its limit")

    def _is_refused(self, url: bytes) -> bool:
        """Refuse a client's request, if this process is late; leave open connections to the app."""
        context = self._arguments[2].get(STATE)
        if context is None or not (route := client_route(url, context.settings.path)):
            return False
        if not self._is_new and self.parser.get_method() == b"OPTIONS":
            return False  # without its answer, a page of another origin cannot read the refusal
        if not self._is_late(route):
            return False
        is_first = self._is_first()
        if is_first:
            context.connections.statistics.refuse("overloaded", REASON)
            cors = CORSPolicy(context.authenticator.origins).headers(self._origin())
            self._reject(refusal(cors), REASON, HINT)
        else:
            self.scope["extensions"] = {EXTENSION: {}}
        return is_first

    def _is_late(self, route: str) -> bool:
        """Record how long a request waited, and return whether it is refused."""
        overload, now, is_first = self._pending.overload, self.loop.time(), self._is_first()
        if overload.is_calm(now, is_first=is_first):
            return False  # without the calls of the kernel
        waited = seconds_waited(self.transport)
        if not is_first and self._is_pipelined(waited):
            return False
        return overload.refuses(route, waited, now, is_first=is_first)

    def _is_first(self) -> bool:
        return self._is_new or (self.cycle is None and self._answered_at is None)

    def _is_pipelined(self, waited: float) -> bool:
        """Return whether a request came before the last response, for which it had to wait.

        Its wait is no sign of this process's load: one client could have all others refused.
        """
        if self._unanswered or self._answered_at is None:
            return True
        return waited > time.monotonic() - self._answered_at + _SLACK_SECONDS

    def _origin(self) -> str:
        headers = {} if self._is_new else dict(self.headers)  # a socket's upgrade needs none
        return headers.get(b"origin", b"").decode("latin-1")

    def _reject(self, error: HTTPError, reason: str, hint: str = ADDRESS_HINT) -> None:
        """Answer with an error and close; without an answer, where another one has begun."""
        self._pending.rejections.report(reason, hint)
        self._is_rejected = True
        self._pending.discard(self)
        self._set_deadline(None)
        if self._unanswered and not self._is_own_request():
            self._abort()
            return
        self._disconnect()
        self.transport.write(rejection(error))
        self.loop.call_later(self.limits.linger, self._abort)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _is_own_request(self) -> bool:
        """Return whether the only request without a response is the one that arrives now."""
        (first, *others) = self._unanswered
        return self._in_body and not others and not first.response_started

    def _abort(self) -> None:
        """End the connection at once, and have the application informed."""
        # Before the loop reports the loss, a write to the transport would raise.
        self._disconnect()
        self.transport.abort()

    def _disconnect(self) -> None:
        """Inform the application that nothing more can be written."""
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
