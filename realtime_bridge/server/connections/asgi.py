"""Connection over ASGI: one task receives, one sends from a bounded queue."""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from realtime_bridge.protocol.session.session_commands import Close
from realtime_bridge.server.connections.base import ServerConnection
from realtime_bridge.server.http.request import DISCONNECTED
from realtime_bridge.server.services import ConnectionServices


class ASGIConnection(ServerConnection):
    """Connection whose messages are sent by awaiting, as ASGI requires."""

    def __init__(self, services: ConnectionServices) -> None:
        super().__init__(services)
        self._send_queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake_sender = asyncio.Event()
        self._ended = asyncio.Event()

    @abstractmethod
    async def transmit(self, message: bytes) -> None:
        """Pass one message to the network, and wait while the network is full."""

    @abstractmethod
    async def receive_all(self) -> None:
        """Receive the client's messages until it disconnects."""

    async def run(self, begin: Callable[[], None]) -> None:
        """Serve until either side ends the connection; `begin` starts its session."""
        try:
            async with asyncio.TaskGroup() as tasks:
                begin()
                pumps = [tasks.create_task(self._receive()), tasks.create_task(self._send_all())]
                await self._ended.wait()
                for pump in pumps:
                    pump.cancel()
        finally:
            self.depart()

    async def finish(self) -> Close | None:
        """Send the rest of the queue to a client that still reads; return the close command."""
        if self._closing:
            with suppress(*DISCONNECTED):
                async with asyncio.timeout(self._services.timing.close):
                    while self._send_queue:
                        await self._send_next()
        return self._closing

    def send(self, *messages: bytes) -> None:
        """Queue messages."""
        for message in messages:
            self._send_queue.append(message)
            self._queued_bytes += len(message)
        if self._drained is None and not self.has_room:
            self._drained = asyncio.get_running_loop().create_future()
        self._wake_sender.set()

    def end(self, command: Close) -> None:  # noqa: ARG002 -- `finish` returns it
        """Let `run` return."""
        self._ended.set()

    @property
    def unsent_bytes(self) -> int:
        """The bytes in the queue."""
        return self._queued_bytes

    async def _receive(self) -> None:
        try:
            await self.receive_all()
        finally:
            self._ended.set()

    async def _send_all(self) -> None:
        try:
            while True:
                await self._wake_sender.wait()
                self._wake_sender.clear()
                while self._send_queue:
                    await self._send_next()
        except DISCONNECTED:
            pass
        finally:
            self._ended.set()

    async def _send_next(self) -> None:
        message = self._send_queue.popleft()
        await self.transmit(message)
        self._queued_bytes -= len(message)
        if self._drained and self.has_room:
            self._drained.set_result(None)
            self._drained = None
        self.mark_progress()
