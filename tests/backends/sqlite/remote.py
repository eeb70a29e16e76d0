"""Log in another process, which calls on a pipe reach."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, ForkServerContext
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

Context = ForkContext | ForkServerContext

FORK: ForkContext = multiprocessing.get_context("fork")
"""For a process without threads, whose imports a fork has already."""

FORK_SERVER: ForkServerContext = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload([__name__])


class RemoteProcess:
    """Process that has the file open, and answers one call after the other.

    Args:
        path: the path of the file.
        retention: the history that a channel keeps.
        context: the way to start the process.

    """

    def __init__(
        self, path: Path, retention: Retention | None = None, context: Context = FORK_SERVER
    ) -> None:
        self.pipe, end = context.Pipe()
        self._process = context.Process(target=_answer_calls, args=(end, path, retention))
        self._process.start()
        end.close()

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method, and return its result.

        Raises:
            Exception: the error of the method.

        """
        self.send(method, *arguments, **options)
        return self.receive()

    def send(
        self,
        method: str,
        *arguments: Any,
        is_last: bool = False,
        now: float | None = None,
        **options: Any,
    ) -> None:
        """Send a call; after the last one the process kills itself in place of an answer.

        Args:
            method: name of the method.
            arguments: its arguments.
            is_last: whether it is the last call.
            now: the time that the clock of the process shows from this call on.
            options: its arguments by name.

        """
        self.pipe.send((method, arguments, options, is_last, now))

    def receive(self) -> Any:
        """Return the result of the call.

        Raises:
            EOFError: the process was killed before its answer, or in the middle of it.
            Exception: the error of the method.

        """
        try:
            answer = self.pipe.recv()
        except OSError as error:
            raise EOFError from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        self.pipe.send(None)
        self._process.join()
        self.pipe.close()

    def kill(self) -> None:
        """Kill the process; an answer that it has sent can still be received."""
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
        # It blocks the loop, on which nothing else runs: a thread would double a call's cost.
        while call := pipe.recv():
            method, arguments, options, is_last, now = call
            if now is not None:
                time.time = partial(float, now)
            try:
                answer = await getattr(log, method)(*arguments, **options)
            except Exception as error:
                answer = error
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            pipe.send(answer)
