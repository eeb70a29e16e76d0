"""Log and feed in the memory of this process: the default, and for tests."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from realtime_bridge.backend.feed import Feed, FeedInterrupted, Listener
from realtime_bridge.backend.listener_queue import ListenerQueue
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

EXPIRE_SECONDS = 0.001
"""The shortest time between two appends that expire channels."""

EXPIRE_CHANNELS = 2
"""Channels checked at once. Two per new channel delete at least as many as are created."""

YIELD_EVENTS = 256
"""Queued events of a listener from which an append lets listeners run: a publisher in a tight loop
would otherwise fill their queues."""


class MemoryBackend(Log, Feed, Plugin):
    """Log and feed in a dictionary, for one event loop.

    Every process begins new epochs. Channels expire a few at a time: no append takes long, and
    every channel is deleted in the end.

    Args:
        retention: the history that a channel keeps.
        clock: returns seconds, and never goes back.

    """

    remote_access_via = "websocket"
    in_process = True

    def __init__(
        self, retention: Retention | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._retention = retention or Retention()
        self._clock = clock
        self._channels: dict[str, History] = {}
        self._expiry_order: deque[str] = deque()
        """Channels in the order of their next check."""
        self._next_expiry = 0.0
        self._listeners: set[_MemoryListener] = set()
        self._configuration: str | None = None
        self._generation = 0

    def __str__(self) -> str:
        return "the memory log"

    @property
    def channel_count(self) -> int:
        """Number of channels in memory."""
        return len(self._channels)

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return a log with the retention of `REALTIME_HISTORY_*`."""
        return cls(settings.retention)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append events, and queue them for the listeners."""
        # No await before the events are queued: listeners receive them in the order of offsets.
        now, unix_time = self._clock(), time.time_ns() // 1_000_000
        receipts, announced = [], []
        for event in events:
            appended = self._history(event.channel, now).append(event, now=now, time=unix_time)
            receipts.append(appended.receipt)
            if appended.announced:
                announced.append(appended.announced)
        if now >= self._next_expiry:
            self._next_expiry = now + EXPIRE_SECONDS
            self._expire_channels(now)
        must_yield = False
        for listener in self._listeners:
            must_yield |= listener.receive(announced) >= YIELD_EVENTS
        if must_yield:
            await asyncio.sleep(0)
        return receipts

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset."""
        return self._current(channel).read(after, limit)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        now = self._clock()
        return {channel: self._history(channel, now).top for channel in channels}

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key."""
        return self._current(channel).latest(after=after, limit=limit)

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
        history = self._history(channel, now)
        if history.top.epoch == expected_epoch:
            history = self._channels[channel] = self._new_history(now)
        return history.top

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener on the events that this log appends."""
        listener = _MemoryListener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            listener.queue.close()

    def _history(self, channel: str, now: float) -> History:
        history = self._channels.get(channel)
        if history is None:
            self._expire_channels(now)
            history = self._channels[channel] = self._new_history(now)
            self._expiry_order.append(channel)
        return history

    def _new_history(self, now: float) -> History:
        return History(ids.epoch(), now=now, retention=self._retention)

    def _current(self, channel: str) -> History:
        now = self._clock()
        history = self._history(channel, now)
        history.expire(now)
        return history

    def _expire_channels(self, now: float) -> None:
        """Check the channels whose last check is the oldest, and delete the expired ones."""
        for _ in range(min(EXPIRE_CHANNELS, len(self._expiry_order))):
            channel = self._expiry_order.popleft()
            history = self._channels[channel]
            history.expire(now)
            if history.is_expired(now):
                del self._channels[channel]
            else:
                self._expiry_order.append(channel)


class _MemoryListener(Listener):
    def __init__(self) -> None:
        self.queue = ListenerQueue()
        self._channels: dict[str, None] = {}
        """A dictionary: a set of thousands takes three times its memory."""

    def receive(self, events: Sequence[Event]) -> int:
        """Queue the events of subscribed channels, and return the length of the queue."""
        if subscribed := [event for event in events if event.channel in self._channels]:
            self.queue.put(subscribed)
        return len(self.queue)

    async def subscribe(self, channels: Iterable[str]) -> None:
        self._channels.update(dict.fromkeys(channels))

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self._channels.pop(channel, None)

    def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        return aiter(self.queue)
