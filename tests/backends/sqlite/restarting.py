"""Log in a file whose process is replaced at random moments, in order or by a kill."""

import asyncio
import shutil
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge_backends.sqlite import SQLiteBackend

SHARE = 0.05
"""Part of the calls that another process answers."""

KEPT_BY_A_KILL = ("", "-wal", "-lock")
"""Files of a killed process: the shared memory is rebuilt."""


class RestartingLog(FoldingLog):
    """Log that begins some calls with another process.

    Args:
        folder: the folder of its files.
        seed: of the moments.

    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._paths = (folder / f"{number}.db" for number in count())
        self._random = Random(seed)
        self.path = next(self._paths)
        self.restarts = 0
        self._log = self._create()

    def _create(self) -> SQLiteBackend:
        return SQLiteBackend(self.path, retention=Retention(seconds=10**9))

    async def __aenter__(self) -> Self:
        await self._log.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._log.__aexit__(None, None, None)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        return await (await self._current()).append(events)

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        return await (await self._current()).read(channel, after, limit)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        return await (await self._current()).positions(channels)

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        return await (await self._current()).latest(channel, after=after, limit=limit, key=key)

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        return await (await self._current()).renew(leases)

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        return await (await self._current()).rotate_epoch(channel, expected_epoch)

    async def _current(self) -> SQLiteBackend:
        if self._random.random() < SHARE:
            self.restarts += 1
            former = self.path
            is_killed = self._random.random() < 0.5
            if is_killed:
                self.path = next(self._paths)
                await asyncio.to_thread(_copy, former, self.path)
            await self._log.__aexit__(None, None, None)
            if is_killed:
                await asyncio.to_thread(_remove, former)
            self._log = self._create()
            await self._log.__aenter__()
        return self._log


def _copy(source: Path, target: Path) -> None:
    for ending in KEPT_BY_A_KILL:
        if Path(f"{source}{ending}").exists():
            shutil.copyfile(f"{source}{ending}", f"{target}{ending}")


def _remove(path: Path) -> None:
    for ending in KEPT_BY_A_KILL:
        Path(f"{path}{ending}").unlink(missing_ok=True)
