"""WebSocket of a client on the transport itself: no task, no queue and no request of its own."""

import asyncio
import os
from typing import TYPE_CHECKING, Any, ClassVar

from realtime_bridge.protocol.session.session_commands import Close
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.wire import websocket_frames
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.websocket_frames import (
    ControlFrame,
    Fragment,
    FrameParser,
    Oversized,
    Received,
    WireError,
    encode_frame,
)
from realtime_bridge.server.connections.base import ServerConnection
from realtime_bridge.server.connections.connection import Connection
from realtime_bridge.server.fanout.sending import WriteTarget
from realtime_bridge.server.fanout.subscriber import FastSubscriber
from realtime_bridge.server.services import ConnectionServices

FRAMES_PER_TURN = 64
"""The most frames of one client that are parsed before other connections have their turn."""

ANSWER_BYTES = 64 * 1024
"""Bytes of answers that are joined; the following ones are written one by one."""


SLOTS = (
    "_answers", "_broken", "_continues", "_parser", "_target", "_transport", "_uvicorn_connections",
)  # fmt: skip
"""Attributes of a `FastTransport`, which each subclass with a protocol names as its slots."""


class FastTransport(ServerConnection, FastSubscriber, asyncio.Protocol):
    """Connection that writes at once; its transport buffers what the network does not take.

    While that buffer is empty, the fan-out writes events straight to the socket: see
    `write_target`. The transport reports when the buffer fills and when it is empty again;
    between the two, events come through `deliver`, which checks the limit.

    Args:
        services: the parts of the server.
        transport: the transport of an open WebSocket without extensions.
        uvicorn_connections: uvicorn's set of connections, each of which it shuts down.

    """

    if TYPE_CHECKING:
        __slots__ = (
            "_answers", "_broken", "_continues", "_parser", "_target", "_transport",
            "_uvicorn_connections",
        )  # fmt: skip
    else:
        # Two bases with slots of their own cannot be combined.
        __slots__ = ()

    flood_code: ClassVar[int]
    """Close code for a client that sends too much, whose input is ignored from then on."""

    _answers: bytearray | None
    _broken: bool
    _continues: bool
    _parser: FrameParser | None
    _target: WriteTarget
    _transport: asyncio.Transport
    _uvicorn_connections: set[Any]

    def __init__(
        self,
        services: ConnectionServices,
        transport: asyncio.Transport,
        uvicorn_connections: set[Any],
    ) -> None:
        self._target = _write_target(transport)
        super().__init__(services)
        self._transport = transport
        self._uvicorn_connections = uvicorn_connections
        self._answers = None
        """Answers to a client's messages, which are written in one piece; None at other times."""
        self._broken = False
        """True when the rest of the input is ignored."""
        self._continues = False
        """True while the rest of the parser's bytes waits for the next turn."""
        self._parser = None
        """Parser of an incomplete message; None between messages, which saves its memory."""
        # `pause_writing` has to come with the first byte that the network does not take.
        transport.set_write_buffer_limits(high=0)
        uvicorn_connections.add(self)

    def write_target(self, subscription: ChannelSubscription) -> WriteTarget | None:
        """Return the socket, or None while events have to go through `deliver`."""
        return self._target if self._drained is None and not subscription.behind else None

    def write_rest(self, rest: bytes) -> None:
        """Write the bytes that the socket did not take."""
        self._write(rest)

    def send(self, *messages: bytes) -> None:
        """Write messages in one piece, unless the close frame was written."""
        if self._closing is None:
            self._write(b"".join(map(encode_frame, messages)))

    @property
    def unsent_bytes(self) -> int:
        """The bytes in the transport's buffer."""
        return self._transport.get_write_buffer_size() if self._drained else 0

    def end(self, command: Close) -> None:
        """Write the close frame, and give the client a moment to answer it."""
        self._write(websocket_frames.encode_close(command.code, command.reason))
        self._write_answers()
        self.depart()
        self._transport.resume_reading()
        if command.code == self.flood_code:
            self._ignore_input()
        wait = self._services.timing.close
        asyncio.get_running_loop().call_later(wait, self._transport.abort)

    def shutdown(self) -> None:
        """Close, because uvicorn stops."""
        self.close(CloseCode.SERVICE_RESTART, "the server restarts")

    def data_received(self, data: bytes) -> None:
        """Receive bytes of the client."""
        if self._broken:
            return
        if self._parser and self._continues:
            self._parser.feed(data)
        else:
            self._receive_all(data)

    def pause_writing(self) -> None:
        """Deliver events through `deliver`, because the transport's buffer holds bytes."""
        self._drained = asyncio.get_running_loop().create_future()
        self._update_routes()

    def resume_writing(self) -> None:
        """Write events to the socket again, and continue to receive."""
        if self._drained:
            self._drained.set_result(None)
            self._drained = None
        self.mark_progress()
        self._update_routes()
        if self._parser and not self._continues:
            self._receive_all()
        if not (self._continues or self._is_blocked()):
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """Remove the connection; the kernel soon gives its socket's number to another."""
        self._uvicorn_connections.discard(self)
        self.depart()

    def _write(self, data: bytes) -> None:
        """Write bytes after all earlier ones."""
        if self._answers is None:
            self._transport.write(data)
            return
        self._answers += data
        if len(self._answers) > ANSWER_BYTES:
            self._write_answers()

    def _write_answers(self) -> None:
        answers, self._answers = self._answers, None
        if answers:
            self._transport.write(bytes(answers))

    def _update_routes(self) -> None:
        for subscription in self.subscriptions:
            self._services.hub.update_route(self, subscription)

    def _receive_all(self, data: bytes = b"") -> None:
        """Parse bytes, after those that wait, and handle the frames while there is room."""
        parser = self._parser = self._parser or FrameParser(self._services.limits.frame_bytes)
        parser.feed(data)
        # While bytes wait for the client, each answer counts before its next message is read.
        self._answers = None if self._drained else bytearray()
        try:
            self._receive_frames(parser)
        finally:
            self._write_answers()

    def _receive_frames(self, parser: FrameParser) -> None:
        for _ in range(FRAMES_PER_TURN):
            if self._drained and self._is_blocked():
                self._transport.pause_reading()
                return
            frame = None if self._broken else parser.next_frame()
            if frame is None:
                break
            self._receive(frame)
        else:
            self._continue_later()
            return
        if self._broken or not parser.is_incomplete:
            self._parser = None

    def _continue_later(self) -> None:
        """Parse the rest in the next turn of the event loop; no client has the loop for itself."""
        if self._closing:
            # After a close, the answer to it is of interest alone.
            self._ignore_input()
            return
        self._continues = True
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._continue)

    def _continue(self) -> None:
        self._continues = False
        if self._transport.is_closing():
            return
        if self._parser:
            self._receive_all()
        if not (self._continues or self._is_blocked()):
            self._transport.resume_reading()

    def _is_blocked(self) -> bool:
        """Return whether the client has to read first; after the close, it need not."""
        return self._closing is None and not self.has_room

    def _receive(self, message: Received) -> None:
        if isinstance(message, str | bytes):
            self.receive(message)
        elif isinstance(message, Fragment):
            self.receive_frame()
        elif isinstance(message, Oversized):
            self.reject_oversized()
        elif isinstance(message, WireError):
            self._fail(message)
        else:
            self._receive_control(message)

    def _receive_control(self, frame: ControlFrame) -> None:
        if frame.opcode == websocket_frames.CLOSE:
            self._close_with(websocket_frames.decode_close_code(frame.payload))
            return
        self.receive_frame()
        if frame.opcode == websocket_frames.PING and self._closing is None:
            self._write(encode_frame(frame.payload, websocket_frames.PONG))

    def _fail(self, error: WireError) -> None:
        """Close the connection with the error."""
        self.close_by_transport(error.code, error.reason)
        self._ignore_input()

    def _ignore_input(self) -> None:
        """Ignore the rest of the input; the client sees the end of the output at once."""
        self._broken = True
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _close_with(self, code: int) -> None:
        """Answer the client's close frame, or accept it as the answer to the server's."""
        self.close_by_transport(CloseCode.NORMAL if code == CloseCode.NO_CODE else code, "")
        self._transport.close()


class FastConnection(FastTransport, Connection):  # type: ignore[misc]  # its slots are its own
    """Connection of a client of ours."""

    transport = "websocket"
    flood_code: ClassVar[int] = CloseCode.RATE_LIMIT
    __slots__ = SLOTS


def _write_target(transport: asyncio.Transport) -> WriteTarget:
    """Return the number of the transport's socket, or a function that writes to the transport.

    TLS encrypts inside the transport, and Windows' sockets are no file descriptors.
    """
    socket = transport.get_extra_info("socket")
    plain = transport.get_extra_info("sslcontext") is None and os.name == "posix"
    if socket is not None and plain:
        return int(socket.fileno())

    def write(data: bytes) -> int:
        transport.write(data)
        return len(data)

    return write
