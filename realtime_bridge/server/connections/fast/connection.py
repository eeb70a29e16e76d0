"""A client's WebSocket on the transport itself: no task, no queue and no request of its own."""

import asyncio
import os
import time
from collections.abc import Coroutine
from typing import Any

from realtime_bridge.protocol.session.session_commands import Close
from realtime_bridge.protocol.wire import websocket_frames
from realtime_bridge.protocol.wire.websocket_frames import (
    ControlFrame,
    FrameParser,
    Oversized,
    Received,
    WireError,
)
from realtime_bridge.server.connections import connection
from realtime_bridge.server.connections.connection import Connection
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.fanout.channel_fanout import FastSubscriber
from realtime_bridge.server.fanout.sending import WriteTarget
from realtime_bridge.server.registry import RESTARTING

NOTICE_SECONDS = 1.0
"""How often it is looked whether a client that fell behind reads anything."""


class FastConnection(Connection, FastSubscriber, asyncio.Protocol):
    """Writes at once, and lets the transport keep what the network does not take.

    As long as the transport keeps nothing, the hub writes events straight to the socket, see
    `direct`. The transport tells when it has to keep something and when that is gone; meanwhile
    events come through `deliver`, which watches the limit.

    Args:
        engine: what it is a connection of.
        transport: an open WebSocket's, without extensions.
        siblings: uvicorn's set of connections, each of which it asks to shut down.

    """

    __slots__ = (
        "_broken",
        "_incoming",
        "_kept",
        "_noticed",
        "_outlet",
        "_siblings",
        "_transport",
    )

    def __init__(
        self, engine: ServerContext, transport: asyncio.Transport, siblings: set[Any]
    ) -> None:
        super().__init__(engine)
        self._transport = transport
        self._siblings = siblings
        self._broken = False
        self._incoming: FrameParser | None = None
        self._kept: asyncio.Future[None] | None = None
        """Done when the transport keeps nothing any more; None while it does not."""
        self._noticed = 0
        self._outlet = _outlet(transport)
        transport.set_write_buffer_limits(high=0)
        siblings.add(self)

    def direct(self, channel: str) -> WriteTarget | None:
        """Return what takes ready bytes now; None while they have to go through `deliver`."""
        return self._outlet if self._kept is None and self._session.live(channel) else None

    def hand_over(self, rest: bytes) -> None:
        """Write what `direct` did not take."""
        self._transport.write(rest)

    def put(self, *written: bytes) -> None:
        """Write frames, all at once, and none after the last."""
        if self._closing is None:
            self._transport.write(b"".join(map(websocket_frames.encode_frame, written)))

    @property
    def unsent(self) -> int:
        """How many bytes the transport keeps."""
        return self._transport.get_write_buffer_size() if self._kept else 0

    async def has_room(self) -> None:
        """Wait until the transport has let go of what is over the limit."""
        while self._kept and not self.room:
            await asyncio.shield(self._kept)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the server."""
        assert self._engine.tasks
        return self._engine.tasks.create_task(work)

    @property
    def deadline(self) -> float:
        """When to be woken: soon, while it is of interest whether the client reads."""
        deadline = self._session.next_wakeup
        if self._kept is None or deadline == float("inf"):
            return deadline
        return min(deadline, time.monotonic() + NOTICE_SECONDS)

    def close(self, command: Close) -> None:
        """Write the last frame, and give the client a moment to agree."""
        self._transport.write(websocket_frames.encode_close(command.code, command.reason))
        self.depart()
        self._transport.resume_reading()
        asyncio.get_running_loop().call_later(connection.CLOSE_SECONDS, self._transport.abort)

    def wake(self) -> None:
        """Do what the session has to do; look whether a slow client has read something."""
        if self.unsent < self._noticed:
            self.progressed()
        super().wake()
        self._noticed = self.unsent

    def shutdown(self) -> None:
        """Obey uvicorn, which is about to stop."""
        self.dismiss(RESTARTING, "the server restarts")

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._broken:
            return
        if self._incoming is None:
            self._incoming = FrameParser(self._engine.settings.limit_frame_bytes)
        self._incoming.feed(data)
        self._read()

    def pause_writing(self) -> None:
        """Note that the transport keeps something."""
        self._kept = asyncio.get_running_loop().create_future()
        self._noticed = self.unsent
        self._change_ways()

    def resume_writing(self) -> None:
        """Note that everything was sent, and read on."""
        if self._kept:
            self._kept.set_result(None)
            self._kept = None
        self.progressed()
        self._change_ways()
        self._transport.resume_reading()
        if self._incoming:
            self._read()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """Leave nothing behind; the socket's number is another's soon."""
        self._siblings.discard(self)
        self.depart()

    def _change_ways(self) -> None:
        for channel in self._session.channels:
            self._engine.hub.update_route(self, channel)

    def _read(self) -> None:
        """Take message after message, as long as there is room for what they cause."""
        incoming = self._incoming
        assert incoming
        try:
            while (self.room or self._closing) and (message := incoming.next()) is not None:
                self._receive(message)
        except WireError as error:
            self._give_up(error)
        if incoming.idle:
            self._incoming = None
        if not (self.room or self._closing):
            self._transport.pause_reading()

    def _give_up(self, error: WireError) -> None:
        """Say what was wrong, and understand nothing any more."""
        self._broken = True
        self.dismiss(error.code, error.reason)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _receive(self, message: Received) -> None:
        if isinstance(message, Oversized):
            self._perform(self._session.oversized())
        elif not isinstance(message, ControlFrame):
            self.take(message)
        elif message.opcode == websocket_frames.CLOSE:
            self._part(websocket_frames.decode_close_code(message.payload))
        elif message.opcode == websocket_frames.PING and self._closing is None:
            self._transport.write(
                websocket_frames.encode_frame(message.payload, websocket_frames.PONG)
            )

    def _part(self, code: int) -> None:
        """Agree to the client's close, or note that it agrees to ours."""
        self.dismiss(websocket_frames.NORMAL if code == websocket_frames.NO_CODE else code, "")
        self._transport.close()


def _outlet(transport: asyncio.Transport) -> WriteTarget:
    """Return the number of the transport's socket, where that takes the bytes as they are.

    TLS has no other way than through the transport, and neither have Windows' sockets.
    """
    held = transport.get_extra_info("socket")
    if held is not None and transport.get_extra_info("sslcontext") is None and os.name == "posix":
        return int(held.fileno())

    def write(data: bytes) -> int:
        transport.write(data)
        return len(data)

    return write
