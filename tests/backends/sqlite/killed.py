"""Log whose process ends at random moments: in order, or by `kill -9` within a call."""

import asyncio
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge_backends.memory import MemoryBackend
from tests.backends.sqlite.remote import RemoteProcess

ENDS, KILLS, KILLED_APPENDS = 0.01, 0.01, 0.2
"""Parts of the calls before which the process ends, and in which it is killed."""

LAST = 0.3
"""Part of the kills that come when the work of the call is done, and its answer is missing."""

KILL_SECONDS = 0.004
"""Longest time from the begin of a call to another kill: a call takes about a millisecond."""

RETENTION = Retention(seconds=10**9)

_TOP = "SELECT epoch, top FROM channels WHERE channel = ?"


class KilledLog(FoldingLog):
    """Log in a process that is replaced again and again.

    An append without an answer was committed as a whole, or not at all: then it is sent again.
    Its answer is that of a log in memory, which gets the same calls.

    Args:
        path: the path of the file.
        seed: of the moments.

    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self._now = 0.0
        self._elapsed_at = time.monotonic()
        self.ends = self.kills = self.committed = 0
        """Ends in order, kills, and kills between the commit of an append and its answer."""
        self._random = Random(seed)
        self._memory = MemoryBackend(RETENTION, clock=lambda: self._now)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._process.close)

    def elapse(self, seconds: float) -> float:
        """Set the log in memory forward, and return what the time in the file lacks.

        On a busy machine the calls since the last time may have taken a minute.
        """
        passed = time.monotonic() - self._elapsed_at
        self._elapsed_at += passed
        self._now += seconds
        return seconds - passed

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        receipts, channel = await self._memory.append(events), events[0].channel
        before = await asyncio.to_thread(self._top, channel)
        while (answer := await self._ask("append", events)) is None:
            if await asyncio.to_thread(self._top, channel) != before:
                self.committed += 1
                return receipts
        found: list[Receipt] = answer
        return found

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        answer: Page | Reset = await self._repeat("read", channel, after, limit)
        return answer

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        names = list(channels)
        await self._memory.positions(names)
        answer: dict[str, Position] = await self._repeat("positions", names)
        return answer

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        await self._memory.latest(channel, key=key)
        answer: Page = await self._repeat("latest", channel, after=after, limit=limit, key=key)
        return answer

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        await self._memory.renew(leases)
        answer: list[Renewal] = await self._repeat("renew", leases)
        return answer

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        top = (await self._memory.positions([channel]))[channel]
        await self._memory.rotate_epoch(channel, top.epoch)
        answer: Position = await self._repeat("rotate_epoch", channel, expected_epoch)
        return answer

    def _top(self, channel: str) -> tuple[str, int] | None:
        # The process has the file open, so this connection is never the last one to close.
        with closing(sqlite3.connect(self.path)) as connection:
            found: tuple[str, int] | None = connection.execute(_TOP, (channel,)).fetchone()
            return found

    async def _repeat(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call until there is an answer; a second call changes nothing more."""
        while (answer := await self._ask(method, *arguments, **options)) is None:
            pass
        return answer

    async def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Return the answer to a call; None from a process that was killed before."""
        moment, is_last = self._random.random(), self._random.random() < LAST
        is_killed = moment < (KILLED_APPENDS if method == "append" else KILLS)
        if moment >= 1 - ENDS:
            self.ends += 1
            await asyncio.to_thread(self._process.close)
            await self._start()
        call = asyncio.create_task(
            asyncio.to_thread(
                self._process.call, method, *arguments, is_last=is_killed and is_last, **options
            )
        )
        if is_killed:
            self.kills += 1
            seconds = None if is_last else self._random.uniform(0, KILL_SECONDS)
            await asyncio.wait({call}, timeout=seconds)
            await asyncio.to_thread(self._process.kill)
        try:
            return await call
        except (EOFError, ConnectionError):
            return None
        finally:
            if is_killed:
                await self._start()

    async def _start(self) -> None:
        self._process = await asyncio.to_thread(RemoteProcess, self.path, RETENTION)
        # It has the file open when it answers.
        await asyncio.to_thread(self._process.call, "positions", [])
