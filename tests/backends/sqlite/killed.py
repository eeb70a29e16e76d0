"""Log whose process ends at random moments: in order, or by `kill -9` within a call."""

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
from tests.backends.sqlite.remote import FORK_SERVER, Context, RemoteProcess

ENDS, KILLS, KILLED_APPENDS = 0.003, 0.002, 0.06
"""Parts of the calls before which the process ends, and in which it is killed: twice in a history,
since a new process costs as much as a hundred calls."""

LAST = 0.3
"""Part of the kills that come when the work of the call is done, and its answer is missing."""

KILL_SECONDS = 0.001
"""Longest time from the begin of a call to another kill: about that of a call."""

RETENTION = Retention(seconds=10**9)

_TOP = "SELECT epoch, top FROM channels WHERE channel = ?"


class KilledLog(FoldingLog):
    """Log in a process that is replaced again and again; a call blocks the event loop.

    An append without an answer was committed as a whole, or not at all: then it is sent again.
    Its answer is that of a log in memory, which gets the same calls.

    Args:
        path: the path of the file.
        seed: of the moments.
        context: the way to start the processes.

    """

    def __init__(self, path: Path, seed: int, context: Context = FORK_SERVER) -> None:
        self.ends = self.kills = self.committed = 0
        """Ends in order, kills, and kills between the commit of an append and its answer."""
        self._path = path
        self._context = context
        self._random = Random(seed)
        self._now = time.time()
        self._memory = MemoryBackend(RETENTION, clock=lambda: self._now)

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.close()

    async def elapse(self, _: str, seconds: float) -> None:
        """Set the clock of all processes forward, which stands still otherwise."""
        self._now += seconds

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        receipts, channel = await self._memory.append(events), events[0].channel
        while True:
            is_killed = self._random.random() < KILLED_APPENDS
            before = self._top(channel) if is_killed else None
            answer = self._ask("append", events, is_killed=is_killed)
            if answer is not None:
                found: list[Receipt] = answer
                return found
            if self._top(channel) != before:
                self.committed += 1
                return receipts

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        answer: Page | Reset = self._repeat("read", channel, after, limit)
        return answer

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        names = list(channels)
        await self._memory.positions(names)
        answer: dict[str, Position] = self._repeat("positions", names)
        return answer

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        await self._memory.latest(channel, key=key)
        answer: Page = self._repeat("latest", channel, after=after, limit=limit, key=key)
        return answer

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        await self._memory.renew(leases)
        answer: list[Renewal] = self._repeat("renew", leases)
        return answer

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        top = (await self._memory.positions([channel]))[channel]
        await self._memory.rotate_epoch(channel, top.epoch)
        answer: Position = self._repeat("rotate_epoch", channel, expected_epoch)
        return answer

    def _top(self, channel: str) -> tuple[str, int] | None:
        # The process has the file open, so this connection is never the last one to close.
        with closing(sqlite3.connect(self._path)) as connection:
            found: tuple[str, int] | None = connection.execute(_TOP, (channel,)).fetchone()
            return found

    def _repeat(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call until there is an answer; a second call changes nothing more."""
        while True:
            is_killed = self._random.random() < KILLS
            answer = self._ask(method, *arguments, is_killed=is_killed, **options)
            if answer is not None:
                return answer

    def _ask(self, method: str, *arguments: Any, is_killed: bool, **options: Any) -> Any:
        """Return the answer to a call; None from a process that was killed before."""
        if self._random.random() < ENDS:
            self.ends += 1
            self._process.close()
            self._start()
        is_last = is_killed and self._random.random() < LAST
        self._process.send(method, *arguments, is_last=is_last, now=self._now, **options)
        if is_killed and not is_last:
            time.sleep(self._random.uniform(0, KILL_SECONDS))
            self._process.kill()
        try:
            return self._process.receive()
        except EOFError:
            return None
        finally:
            if is_killed:
                self.kills += 1
                self._process.kill()
                self._start()

    def _start(self) -> None:
        self._process = RemoteProcess(self._path, RETENTION, self._context)
        # It has the file open when it answers.
        self._process.call("positions", [])
