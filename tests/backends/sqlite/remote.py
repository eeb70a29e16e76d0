"""Log in another process, which calls on a pipe reach."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge_backends.sqlite import SQLiteBackend

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([__name__])


class RemoteProcess:
    """Process that has the file open, and answers one call after the other."""

    def __init__(self, path: Path, retention: Retention | None = None) -> None:
        self.pipe, end = _server.Pipe()
        self._process = _server.Process(target=_answer_calls, args=(end, path, retention))
        self._process.start()
        end.close()

    def call(self, method: str, *arguments: Any, is_last: bool = False, **options: Any) -> Any:
        """Call a method; after the last one the process kills itself in place of an answer.

        Raises:
            EOFError, ConnectionError: the process was killed before its answer.

        """
        self.pipe.send((method, arguments, options, is_last))
        answer = self.pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        self.pipe.send(None)
        self._process.join()
        self.pipe.close()

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()


class RemoteLog(FoldingLog):
    """View of the log from another process.

    Args:
        process: the process.

    """

    def __init__(self, process: RemoteProcess) -> None:
        self._process = process
        self._lock = asyncio.Lock()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        answer: list[Receipt] = await self._call("append", list(events))
        return answer

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        answer: Page | Reset = await self._call("read", channel, after, limit)
        return answer

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        answer: dict[str, Position] = await self._call("positions", list(channels))
        return answer

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        answer: Page = await self._call("latest", channel, after=after, limit=limit, key=key)
        return answer

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        answer: list[Renewal] = await self._call("renew", list(leases))
        return answer

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        answer: Position = await self._call("rotate_epoch", channel, expected_epoch)
        return answer

    async def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        async with self._lock:
            return await asyncio.to_thread(self._process.call, method, *arguments, **options)


def _answer_calls(pipe: Connection, path: Path, retention: Retention | None) -> None:
    asyncio.run(_serve(pipe, path, retention))


async def _serve(pipe: Connection, path: Path, retention: Retention | None) -> None:
    async with SQLiteBackend(path, retention=retention) as log:
        while call := await asyncio.to_thread(pipe.recv):
            method, arguments, options, is_last = call
            try:
                answer = await getattr(log, method)(*arguments, **options)
            except Exception as error:
                answer = error
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            pipe.send(answer)
