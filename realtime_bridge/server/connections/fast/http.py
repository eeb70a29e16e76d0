"""HTTP class for uvicorn that opens usual sockets, and answers usual polls, past uvicorn."""

import asyncio
import time
from typing import Any

from realtime_bridge.server.connections.fast.immediate import find_answer, serves_alone
from realtime_bridge.server.connections.fast.limited_http import LimitedHTTP
from realtime_bridge.server.connections.fast.response_bytes import encode_response
from realtime_bridge.server.connections.fast.upgrade import WebSocket
from realtime_bridge.server.connections.fast.upgrade_request import read_upgrade
from realtime_bridge.server.context import STATE, ServerContext


class HTTP(LimitedHTTP):
    """HTTP class for uvicorn's `http=`.

    Uvicorn's parser, its task and two calls to send a response cost more than most answers. So
    whole requests of the usual form are read here, and every other one goes the usual way.
    """

    def data_received(self, data: bytes) -> None:
        """Answer a usual request at once; parse all other bytes."""
        if self._is_rejected or (self._is_new and self._open_socket(data)):
            return
        self._begin()
        if not self._answer_at_once(data):
            super().data_received(data)

    def _open_socket(self, data: bytes) -> bool:
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
        """Answer a whole request that waits for nothing; return False for all others."""
        context: ServerContext | None = self._arguments[2].get(STATE)
        if context is None or not self._is_idle() or not serves_alone(self, context):
            return False
        answer = find_answer(context, data)
        response = None if answer is None or self._is_late("poll") else answer()
        if response is None:
            return False
        self._unset_keepalive_if_required()
        self._set_deadline(None)
        self._order.complete(time.monotonic())
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
            not (self._progress.has_begun or self._unread or self.flow.write_paused)
            and (self.cycle is None or self.cycle.response_complete)
            and not self.transport.is_closing()
        )
