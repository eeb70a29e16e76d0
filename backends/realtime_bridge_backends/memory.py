"""Log and feed in the memory of this process: the default, and for tests."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from realtime_bridge.backend.feed import Feed, Listener
from realtime_bridge.backend.listener_queue import LocalListener
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.histories import Histories

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

MAX_BYTES = 256 * 1024 * 1024
"""Memory of all events, by default."""

YIELD_EVENTS = 256
"""Queued events of a listener from which an append lets listeners run: a publisher in a tight loop
would otherwise fill their queues."""


class MemoryBackend(Log, Feed, Plugin):
    """Log and feed in a dictionary, for one event loop.

    Every process begins new epochs.

    Args:
        retention: the history that a channel keeps.
        max_bytes: memory of all events; beyond it, the oldest go first.
        clock: returns seconds, and never goes back.

    """

    remote_access_via = "websocket"
    in_process = True

    def __init__(
        self,
        retention: Retention | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._histories = Histories(retention or Retention(), ids.epoch, max_bytes=max_bytes)
        self._listeners: set[LocalListener] = set()
        self._configuration: str | None = None
        self._generation = 0

    def __str__(self) -> str:
        return "the memory log"

    @property
    def channel_count(self) -> int:
        """Number of channels in memory."""
        return len(self._histories)

    @property
    def byte_count(self) -> int:
        """Memory of all events, in bytes."""
        return self._histories.size

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return a log with the limits of `REALTIME_HISTORY_*` and `REALTIME_LOG_BYTES`."""
        return cls(settings.retention, max_bytes=settings.log_bytes)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append events, and queue them for the listeners."""
        # No await before the events are queued: listeners receive them in the order of offsets.
        unix_time = time.time_ns() // 1_000_000
        receipts, announced = [], []
        for appended in self._histories.append(events, now=self._clock(), time=unix_time):
            receipts.append(appended.receipt)
            if appended.announced:
                announced.append(appended.announced)
        must_yield = False
        for listener in self._listeners:
            must_yield |= listener.receive(announced) >= YIELD_EVENTS
        if must_yield:
            await asyncio.sleep(0)
        return receipts

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset."""
        return self._histories.current(channel, self._clock()).read(after, limit)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        now = self._clock()
        return {channel: self._histories.of(channel, now).top for channel in channels}

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key."""
        history = self._histories.current(channel, self._clock())
        return history.latest(after=after, limit=limit)

    async def generation(self, configuration: str) -> int:
        """Return the generation of this configuration.

        It is at least the Unix time, so a later process has greater ones.
        """
        if configuration != self._configuration:
            self._configuration = configuration
            self._generation = max(int(time.time()), self._generation + 1)
        return self._generation

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch if `expected_epoch` is still the channel's."""
        now = self._clock()
        history = self._histories.of(channel, now)
        if history.top.epoch == expected_epoch:
            history = self._histories.rotate(channel, now)
        return history.top

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener on the events that this log appends."""
        listener = LocalListener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            listener.close()
