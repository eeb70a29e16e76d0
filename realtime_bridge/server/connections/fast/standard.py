"""Uvicorn's WebSocket class, with a limit on what it parses in one turn."""

import asyncio
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from realtime_bridge.server.connections.fast.response_bytes import rejection
from realtime_bridge.server.http.request import HTTPError

_TURN_BYTES = 8 * 1024
"""Bytes parsed in one turn of the event loop: of empty frames, 10 to 20 ms of work."""

_BAD_HEAD = HTTPError(
    400, "bad_upgrade", "The upgrade has a line over 8 KiB or over 128 headers: send less"
)


class StandardWebSocket(WebSocketsSansIOProtocol):
    """WebSocket class for the paths that are no client's socket of the bridge.

    A flood of empty frames takes seconds for a megabyte: other connections have turns between.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's connections and tasks.
        app_state: the lifespan state.

    """

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        """Parse the first bytes now, and the rest in later turns."""
        waits = bool(self._unread)
        self._unread += data
        if waits:
            self.transport.pause_reading()
        else:
            self._parse()

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message of the application."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            # The upgrade was rejected with a response; uvicorn would log each as an error.
            self.handshake_complete = True

    def _parse(self) -> None:
        if self.transport.is_closing():
            self._unread = b""
            return
        piece, self._unread = self._unread[:_TURN_BYTES], self._unread[_TURN_BYTES:]
        super().data_received(piece)
        if self.conn.handshake_exc is not None:
            # uvicorn would neither answer nor close.
            self.transport.write(rejection(_BAD_HEAD))
            self.transport.close()
        elif self._unread:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._parse)
        elif not (self.read_paused or self.transport.is_closing()):
            self.transport.resume_reading()
