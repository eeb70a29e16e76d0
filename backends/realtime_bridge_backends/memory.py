"""A log and feed in this process's memory: the default, and the double for tests."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
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

LOOK_SECONDS = 0.001
"""How often an append looks whether channels have outlived their time."""

YIELD_EVERY = 256
"""After so many waiting events an append lets the listeners take their turn."""


class MemoryBackend(Log, Feed, Plugin):
    """Keeps each channel's history in a dictionary, within one event loop.

    Epochs are new with each process. Channels that have outlived their time are let go a few
    at a time, so that no append is slow and no channel stays for ever.
    """

    remote_access_via = "websocket"
    in_process = True

    def __init__(self, retention: Retention | None = None) -> None:
        self._retention = retention or Retention()
        self._channels: dict[str, History] = {}
        self._round: deque[str] = deque()
        """The channels, in the order in which they are looked at next."""
        self._look_at = 0.0
        self._listeners: set[_MemoryListener] = set()
        self._configuration: str | None = None
        self._generation = 0

    def __str__(self) -> str:
        return "the memory log"

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Make one that keeps what `REALTIME_HISTORY_*` say."""
        return cls(settings.retention)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Number, store and announce the events."""
        now, unix_time = time.monotonic(), time.time_ns() // 1_000_000
        receipts, announced = [], []
        for event in events:
            appended = self._history(event.channel, now).append(event, now=now, time=unix_time)
            receipts.append(appended.receipt)
            if appended.announced:
                announced.append(appended.announced)
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._let_go(now)
        behind = False
        for listener in self._listeners:
            behind |= listener.hear(announced) >= YIELD_EVERY
        if behind:
            await asyncio.sleep(0)
        return receipts

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return what follows `after`, or a reset."""
        return self._current(channel).read(after, limit)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        now = time.monotonic()
        return {channel: self._history(channel, now).top for channel in channels}

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key."""
        return self._current(channel).latest(after=after, limit=limit)

    async def generation(self, configuration: str) -> int:
        """Return a greater one for another configuration than before, and in a later process."""
        if configuration != self._configuration:
            self._configuration = configuration
            self._generation = max(int(time.time()), self._generation + 1)
        return self._generation

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch, if `expected_epoch` is still the channel's."""
        now = time.monotonic()
        history = self._history(channel, now)
        if history.top.epoch == expected_epoch:
            history = self._channels[channel] = self._new(now)
        return history.top

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener on what is appended here."""
        listener = _MemoryListener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            listener.heard.close()

    def _history(self, channel: str, now: float) -> History:
        history = self._channels.get(channel)
        if history is None:
            self._let_go(now)
            history = self._channels[channel] = self._new(now)
            self._round.append(channel)
        return history

    def _new(self, now: float) -> History:
        return History(ids.epoch(), now=now, retention=self._retention)

    def _current(self, channel: str) -> History:
        now = time.monotonic()
        history = self._history(channel, now)
        history.expire(now)
        return history

    def _let_go(self, now: float) -> None:
        """Look at the two channels that were looked at longest ago, and drop the dead."""
        for _ in range(min(2, len(self._round))):
            channel = self._round.popleft()
            history = self._channels[channel]
            history.expire(now)
            if history.dead(now):
                del self._channels[channel]
            else:
                self._round.append(channel)


class _MemoryListener(Listener):
    def __init__(self) -> None:
        self.heard = ListenerQueue()
        self._channels: dict[str, None] = {}
        """A dictionary, since a set of thousands takes thrice its memory."""

    def hear(self, events: Sequence[Event]) -> int:
        """Note the events of channels we listen to; return how many wait to be taken."""
        if ours := [event for event in events if event.channel in self._channels]:
            self.heard.put(ours)
        return len(self.heard)

    async def subscribe(self, channels: Iterable[str]) -> None:
        self._channels.update(dict.fromkeys(channels))

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self._channels.pop(channel, None)

    def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        return aiter(self.heard)
