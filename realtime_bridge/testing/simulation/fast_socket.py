"""WebSocket of a simulated server with the fast shell: bytes on an asyncio transport."""

import asyncio
from struct import pack
from types import SimpleNamespace
from typing import Any, cast

from realtime_bridge.protocol.wire.websocket_frames import CLOSE, TEXT
from realtime_bridge.server.connections.fast import WebSocket
from realtime_bridge.testing.simulation.http_exchange import Lost
from realtime_bridge.testing.simulation.sockets import Socket

MASK = b"\0\0\0\0"
"""Mask of the client's frames: valid, and it leaves the payload as it is."""

SWITCHING_PROTOCOLS = 101

UPGRADE = (
    "GET {path} HTTP/1.1\r\nhost: simulation\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "sec-websocket-protocol: realtime.v1\r\n\r\n"
)

CONFIG = cast("Any", SimpleNamespace(root_path=""))


class FastSocket(Socket):
    """WebSocket whose server side is a transport with the real protocol."""

    transport: "ServerTransport"
    _received: bytes = b""
    _is_open: bool = False

    def begin(self, path: str) -> None:
        """Hand the connection to the server's protocol, as uvicorn does after an upgrade."""
        self.node.sockets[self] = None
        self.transport = ServerTransport(self)
        state = cast("Any", SimpleNamespace(connections=self.node.uvicorn_connections))
        protocol = WebSocket(CONFIG, state, self.node.state)
        self.transport.set_protocol(protocol)
        # A request that opens a WebSocket has reached the server before this call.
        request = UPGRADE.format(path=path).encode()
        call_soon, context = self.node.loop.call_soon, self.node.process.context
        call_soon(protocol.connection_made, self.transport, context=context)
        call_soon(protocol.data_received, request, context=context)

    def send_text(self, text: str) -> None:
        """Send a message of the client."""
        payload = text.encode()
        if len(payload) < 126:  # noqa: PLR2004 -- the limit of RFC 6455 for a short size
            head = pack(">BB", 0x80 | TEXT, 0x80 | len(payload))
        else:
            head = pack(">BBH", 0x80 | TEXT, 0x80 | 126, len(payload))
        self.up.send(head + MASK + payload, len(payload))

    def on_client_item(self, item: bytes | Lost) -> None:
        """Hand bytes to the protocol."""
        if isinstance(item, Lost):
            self.on_server_lost()
        else:
            self.transport.receive(item)

    def on_server_item(self, item: bytes | Lost) -> None:
        """Parse bytes of the server."""
        if isinstance(item, Lost):
            self.inbox.put(item)
            return
        data = self._received + item
        if not self._is_open:
            head, _, data = data.partition(b"\r\n\r\n")
            self._is_open = True
            status = int(head.split(b" ", 2)[1])
            self.inbox.put(status)
            data = data if status == SWITCHING_PROTOCOLS else b""
        self._received = self._parse(data)

    def on_server_lost(self) -> None:
        """Report the loss to the protocol."""
        self.transport.lose()

    def shut_down(self) -> None:
        """Close, because the server stops."""
        # uvicorn calls this method of each connection that it has.
        for connection in list(self.node.uvicorn_connections):
            connection.shutdown()

    def _parse(self, data: bytes) -> bytes:
        """Put the complete frames into the inbox, and return the rest."""
        at = 0
        while at + 2 <= len(data):
            size, head = data[at + 1], 2
            if size == 126:  # noqa: PLR2004 -- the marker of RFC 6455 for a size of 16 bits
                size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            elif size == 127:  # noqa: PLR2004 -- and of 64 bits
                size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            if at + head + size > len(data):
                break
            payload = data[at + head : at + head + size]
            if data[at] & 0x0F == CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                self.inbox.put((code, payload[2:].decode()))
            elif data[at] & 0x0F == TEXT:
                self.inbox.put(payload.decode())
            at += head + size
        return data[at:]


class ServerTransport(asyncio.Transport):
    """Transport of one connection: it buffers what the network does not take."""

    def __init__(self, socket: FastSocket) -> None:
        super().__init__()
        self._socket = socket
        self._pipe = socket.down
        self._buffer: list[bytes] = []
        self._size = 0
        self._protocol: Any = None
        self._is_closing = self._is_lost = self._is_reading_paused = False
        self._unread: list[bytes] = []
        self._pipe.on_progress = self._schedule_flush

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the receiver of bytes."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the receiver of bytes."""
        return cast("asyncio.BaseProtocol", self._protocol)

    def receive(self, data: bytes) -> None:
        """Hand received bytes to the protocol, unless reading is paused."""
        if self._is_lost:
            return
        if self._is_reading_paused:
            self._unread.append(data)
        else:
            self._protocol.data_received(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, or buffer them."""
        if self._is_lost:
            return
        if not self._buffer and self._pipe.has_room:
            self._pipe.send(bytes(data), len(data))
            return
        if not self._buffer:
            self._protocol.pause_writing()
        self._buffer.append(bytes(data))
        self._size += len(data)

    def close(self) -> None:
        """Close after the buffer is sent."""
        self._is_closing = True
        if not self._buffer:
            self._end()

    def abort(self) -> None:
        """Close at once."""
        self._buffer.clear()
        self._end()

    def lose(self) -> None:
        """Report the end of the connection to the protocol."""
        if not self._is_lost:
            self._is_lost = True
            self._socket.node.sockets.pop(self._socket, None)
            self._protocol.connection_lost(None)

    def is_closing(self) -> bool:
        """Return whether the transport closes."""
        return self._is_closing

    def can_write_eof(self) -> bool:
        """Return False: no connection is half closed here."""
        return False

    def pause_reading(self) -> None:
        """Keep received bytes back."""
        self._is_reading_paused = True

    def resume_reading(self) -> None:
        """Hand over the bytes that were kept back."""
        self._is_reading_paused = False
        unread, self._unread = self._unread, []
        for data in unread:
            self._socket.node.call_soon(self.receive, data)

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes in the buffer."""
        return self._size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Ignore the limits: the protocol is paused by the first byte in the buffer."""

    def _end(self) -> None:
        self._is_closing = True
        self._pipe.send(Lost())
        self._socket.node.call_soon(self.lose)

    def _schedule_flush(self) -> None:
        if self._buffer:
            self._socket.node.call_soon(self._flush)

    def _flush(self) -> None:
        while self._buffer and self._pipe.has_room and not self._is_lost:
            data = self._buffer.pop(0)
            self._size -= len(data)
            self._pipe.send(data, len(data))
            if not self._buffer:
                if self._is_closing:
                    self._end()
                else:
                    self._protocol.resume_writing()
