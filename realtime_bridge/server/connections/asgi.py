"""A connection over ASGI: a task that listens, and one that empties a bounded outbox."""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from realtime_bridge.protocol.session.session_commands import Close
from realtime_bridge.server.auth.tokens import Principal
from realtime_bridge.server.connections import connection
from realtime_bridge.server.connections.connection import Connection
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.endpoints.requested_positions import Positions

GONE = (OSError, RuntimeError)
"""What sending raises when the client is gone, depending on the server."""


class ASGIConnection(Connection):
    """Written to by awaiting, as ASGI has it."""

    def __init__(self, engine: ServerContext) -> None:
        super().__init__(engine)
        self._outbox: deque[bytes] = deque()
        self._unsent = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = asyncio.Event()

    @abstractmethod
    async def write(self, frame: bytes) -> None:
        """Hand one frame to the network, waiting while it is full."""

    @abstractmethod
    async def listen(self) -> None:
        """Take what the client sends, until it is gone."""

    async def run(self, principal: Principal | None, positions: Positions) -> None:
        """Serve until either side ends it; see `open` for the arguments."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.open(principal, positions)
                tasks = [self.start(self._listen()), self.start(self._write())]
                await self._ended.wait()
                for task in (*tasks, *self._joins.values()):
                    task.cancel()
        finally:
            self.depart()

    async def finish(self) -> Close | None:
        """Write what is left, to a client that still reads, and return how the session closed."""
        if self._closing:
            with suppress(*GONE):
                async with asyncio.timeout(connection.CLOSE_SECONDS):
                    while self._outbox:
                        await self._write_one()
        return self._closing

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something until the connection ends."""
        return self._tasks.create_task(work)

    def put(self, *written: bytes) -> None:
        """Put frames into the outbox."""
        for frame in written:
            self._outbox.append(frame)
            self._unsent += len(frame)
        if not self.room:
            self._room.clear()
        self._wake.set()

    def close(self, command: Close) -> None:  # noqa: ARG002 -- the base keeps it for `finish`
        """Let `run` return."""
        self._ended.set()

    @property
    def unsent(self) -> int:
        """How many bytes are in the outbox."""
        return self._unsent

    async def has_room(self) -> None:
        """Wait until it is."""
        await self._room.wait()

    async def _listen(self) -> None:
        await self.listen()
        self._ended.set()

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    await self._write_one()
        except GONE:
            self._ended.set()

    async def _write_one(self) -> None:
        frame = self._outbox.popleft()
        await self.write(frame)
        self._unsent -= len(frame)
        if self.room:
            self._room.set()
        self.progressed()
