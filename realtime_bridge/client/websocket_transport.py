"""Messages on a WebSocket to the bridge."""

import asyncio
import logging
from contextlib import suppress

from msgspec import json
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime_bridge.client.bridge_http import MAX_MESSAGE_BYTES
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

_logger = logging.getLogger("realtime_bridge.client")


class WebSocketTransport:
    """WebSocket to the bridge.

    Args:
        tools: Parts of the client.
        handlers: Receiver of the messages.

    Raises:
        RouteMissingError: the server does not offer WebSockets.

    """

    def __init__(self, tools: TransportTools, handlers: TransportHandlers) -> None:
        self._url = tools.descriptors.url("websocket").replace("http", "ws", 1)
        self._handlers = handlers
        self._timing = tools.timing
        self._network = tools.network
        self._is_remote = tools.http.is_remote
        self._connection: ClientConnection | None = None
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> None:
        """Connect and receive until the connection ends."""
        code: int = CloseCode.ABNORMAL
        reason = ""
        try:
            async with self._connect() as self._connection:
                await self._receive(self._connection)
        except ConnectionClosed as error:
            code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (code, "")
        except ProtocolError as error:
            _logger.info("WebSocket failed: url=%s error=%r", self._url, error)
            reason = INVALID_MESSAGE
        except (OSError, InvalidHandshake) as error:
            reason = str(error)
            _logger.info("WebSocket failed: url=%s error=%r", self._url, error)
        except Exception as error:  # uvloop's RuntimeError of a reset among them
            log_connection_failure(_logger, "WebSocket failed", error)
        self._handlers.closed(code, reason)

    def send(self, message: Message) -> None:
        """Send a message after those before it."""
        self._outgoing.put_nowait(json.encode(message).decode())

    def close(self) -> None:
        """End the connection without waiting for the other side, which may be unreachable."""
        if self._connection:
            self._connection.transport.abort()

    def _connect(self) -> connect:
        return self._network.connect(
            self._url,
            subprotocols=[messages.SUBPROTOCOL],
            max_size=MAX_MESSAGE_BYTES,
            compression=None,
            # The machine has its own pings, which any message answers.
            ping_interval=None,
            close_timeout=self._timing.close_timeout / 1_000,
            proxy=True if self._is_remote else None,
        )

    async def _receive(self, connection: ClientConnection) -> None:
        sending = asyncio.create_task(self._send_all(connection))
        try:
            self._handlers.opened()
            while True:
                self._handlers.receive(messages.decode_object(await connection.recv()))
        finally:
            sending.cancel()

    async def _send_all(self, connection: ClientConnection) -> None:
        try:
            # The receiving side reports the end of the connection, with its code.
            with suppress(ConnectionClosed):
                while True:
                    await connection.send(await self._outgoing.get())
        except Exception as error:
            log_connection_failure(_logger, "WebSocket failed", error)
        finally:
            connection.transport.abort()  # nothing more can be sent, so this connection is lost
