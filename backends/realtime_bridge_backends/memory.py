"""Log and feed in the memory of this process: the default, and for tests."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Self

from realtime_bridge.backend.feed import EphemeralFeed, Listener
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.listener_queue import (
    YIELD_EVENTS,
    ListenerQueue,
    LocalFeed,
    LocalListener,
)
from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.compiled import compiled
from realtime_bridge.model import ids
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing import plain_append
from realtime_bridge.protocol.publishing.history import EVENT_BYTES, History

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

MAX_BYTES = 256 * 1024 * 1024
"""Memory of all events, by default."""

EXPIRE_SECONDS = 0.001
"""The shortest time between two appends that expire channels."""

EXPIRE_CHANNELS = 2
"""Channels checked at once. Two per new channel delete at least as many as are created."""

MANY_CHANNELS = 100_000
"""Channels from which one without an event is deleted for each that is created: about 40 MiB."""

UNUSED_CHECKS = 8
"""Channels among which an unused one is searched."""

REMAINING_SHARE = 0.9
"""Part of the bound that an eviction leaves: each visits all channels, so it must be rare."""


class MemoryBackend(ListableLog, FoldingLog, EphemeralFeed, Plugin):
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
        self._feed = LocalFeed()
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
        receipts = self._append(events)
        if self._feed.must_yield:
            await asyncio.sleep(0)
        return receipts

    def append_now(self, event: Event) -> Receipt | None:
        """Append an event, unless listeners have to run."""
        if self._feed.must_yield:
            return None
        receipt = (
            append_now(self._histories, self._feed, self._clock, event) if append_now else None
        )
        return self._append([event])[0] if receipt is None else receipt

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset."""
        return self._current(channel).read(after, limit)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        now = self._clock()  # one object for all channels: each keeps it
        return {channel: self._lapsed(channel, now).top for channel in channels}

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        """Return the latest event of each key, or the state of one."""
        return self._current(channel).latest(after=after, limit=limit, key=key)

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart leases."""
        keys: dict[str, list[str]] = {}
        for lease in leases:
            keys.setdefault(lease.channel, []).append(lease.key)
        now = self._clock()
        histories = {channel: self._lapsed(channel, now, first) for channel, first in keys.items()}
        return [histories[lease.channel].renew(lease.key, lease.attempt, now) for lease in leases]

    async def channels(self, *, stored: bool = False) -> Sequence[str]:
        """Return the channels of this process."""
        return self._histories.channels(stored=stored)

    async def oldest(self, channel: str, limit: int = PAGE_EVENTS) -> Page:
        """Return the oldest events of a channel."""
        return self._current(channel).oldest(limit)

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

    async def send_ephemeral(self, event: EphemeralEvent) -> None:
        """Pass an event that no log keeps to the listeners of this process."""
        self._feed.send_ephemeral(event)

    def listen(self) -> AbstractAsyncContextManager[Listener]:
        """Open a listener on the events that this log appends."""
        return self._feed.listen()

    def _append(self, events: Sequence[Event]) -> list[Receipt]:
        # Events are queued at once: listeners receive them in the order of offsets.
        unix_time = time.time_ns() // 1_000_000
        receipts, announced = self._histories.append(events, now=self._clock(), time=unix_time)
        self._feed.announce(announced)
        return receipts

    def _current(self, channel: str) -> History:
        """Return a channel's history, without what has expired."""
        now = self._clock()
        history = self._lapsed(channel, now)
        history.expire(now)
        return history

    def _lapsed(self, channel: str, now: float, first: Sequence[str] = ()) -> History:
        """Return a channel's history, after the end of owners that were silent for too long."""
        history = self._histories.of(channel, now)
        history.touch(now)
        if lapses := history.lapse(now, time.time_ns() // 1_000_000, first):
            self._feed.announce(lapses)
        return history


class Histories:
    """Histories of a log's channels, each created on first use.

    Channels expire a few at a time: no append takes long, and every channel is deleted in the end.
    When the events of all channels need more than `max_bytes`, the channels whose last appends are
    the oldest lose their histories, and clients that were behind get `reset{truncated}`. When only
    latest events remain, the oldest channels begin new epochs without them.

    Args:
        retention: limits of each channel.
        new_epoch: returns a new epoch.
        max_bytes: memory of all events.
        many: channels from which one without an event makes room for each new one.

    """

    __slots__ = (
        "_by_channel",
        "_expiry_order",
        "_many",
        "_max_bytes",
        "_most_bytes",
        "_new_epoch",
        "_next_expiry",
        "_retention",
    )

    def __init__(
        self,
        retention: Retention,
        new_epoch: Callable[[], str],
        *,
        max_bytes: int,
        many: int = MANY_CHANNELS,
    ) -> None:
        self._retention = retention
        self._new_epoch = new_epoch
        self._max_bytes = max_bytes
        self._many = many
        self._most_bytes = 0
        """At least the memory of all events: what was measured, and all that was appended since."""
        self._by_channel: dict[str, History] = {}
        self._expiry_order: deque[str] = deque()
        """Channels in the order of their next check."""
        self._next_expiry = 0.0

    def __len__(self) -> int:
        return len(self._by_channel)

    def channels(self, *, stored: bool) -> list[str]:
        """Return the names of the channels; those with stored events alone, if wanted."""
        channels = self._by_channel.items()
        return [name for name, history in channels if history.size or not stored]

    @property
    def size(self) -> int:
        """Memory of all events, in bytes."""
        return sum(history.size for history in self._by_channel.values())

    def append(
        self, events: Sequence[Event], *, now: float, time: int
    ) -> tuple[list[Receipt], list[Event]]:
        """Store events, each in its channel; return the receipts, and the events to announce.

        Args:
            events: the events.
            now: seconds of the clock.
            time: milliseconds since the Unix epoch.

        """
        if now >= self._next_expiry:
            self.expire_some(now)
        receipts: list[Receipt] = []
        announced: list[Event] = []
        with_lapses: list[History] = []
        batch, index = events if type(events) is list else list(events), 0
        while True:
            if plain_append.append_plain:
                index, room = plain_append.append_plain(
                    self._by_channel,
                    batch,
                    index,
                    now,
                    time,
                    self._max_bytes - self._most_bytes,
                    receipts,
                    announced,
                )
                self._most_bytes = self._max_bytes - room
            if index == len(batch):
                break
            history = self._append_one(batch[index], now, time, receipts, announced)
            if history.keys.lease_at <= now:
                with_lapses.append(history)
            index += 1
        for history in with_lapses:
            announced += history.lapse(now, time)
        return receipts, announced

    def _append_one(
        self, event: Event, now: float, time: int, receipts: list[Receipt], announced: list[Event]
    ) -> History:
        """Append an event, and return its history; add the receipt, and the event to announce."""
        # Most channels exist: without the call, a publish takes 3 % less.
        history = self._by_channel.get(event.channel) or self.of(event.channel, now)
        receipt, stored = history.append(event, now, time)
        receipts.append(receipt)
        if stored is not None:
            announced.append(stored)
        # The sizes of all channels are added only when this estimate reaches the bound.
        self._most_bytes += 2 * (len(event.body) + EVENT_BYTES)
        if self._most_bytes > self._max_bytes:
            self._evict(event.channel, now)
        return history

    def of(self, channel: str, now: float) -> History:
        """Return the history of a channel."""
        history = self._by_channel.get(channel)
        if history is None:
            self._expire(now)
            if len(self._by_channel) >= self._many:
                self._drop_unused()
            history = self.begin(channel, now)
            self._expiry_order.append(channel)
        return history

    def begin(self, channel: str, now: float) -> History:
        """Return a new history of a channel, in place of the old one."""
        history = History(self._new_epoch(), now=now, retention=self._retention)
        self._by_channel[channel] = history
        return history

    def rotate(self, channel: str, now: float) -> History:
        """Return the history of a new epoch, which keeps the latest event of each key."""
        history = self.of(channel, now).rotated(self._new_epoch(), now=now)
        self._by_channel[channel] = history
        return history

    def expire_some(self, now: float) -> None:
        """Check a few channels; the next call is due some time later."""
        self._next_expiry = now + EXPIRE_SECONDS
        self._expire(now)

    def _expire(self, now: float) -> None:
        """Check the channels whose last check is the oldest, and delete the expired ones."""
        for _ in range(min(EXPIRE_CHANNELS, len(self._expiry_order))):
            channel = self._expiry_order.popleft()
            if self._by_channel[channel].expire(now):
                del self._by_channel[channel]
            else:
                self._expiry_order.append(channel)

    def _drop_unused(self) -> None:
        """Delete a channel without an event: a client can name as many as it likes."""
        for _ in range(UNUSED_CHECKS):
            channel = self._expiry_order.popleft()
            if self._by_channel[channel].is_unused:
                del self._by_channel[channel]
                return
            self._expiry_order.append(channel)

    def _evict(self, appended: str, now: float) -> None:
        """Remove the oldest events, if all need too much memory; the last appended event stays."""
        self._most_bytes = self.size
        if self._most_bytes <= self._max_bytes * REMAINING_SHARE:
            return
        self._drop_histories(appended)
        others = [(name, one) for name, one in self._oldest_first() if name != appended]
        for channel, history in others:
            if self._most_bytes <= self._max_bytes * REMAINING_SHARE:
                return
            self._most_bytes -= history.size
            self.begin(channel, now)

    def _drop_histories(self, appended: str) -> None:
        for channel, history in self._oldest_first():
            if self._most_bytes <= self._max_bytes * REMAINING_SHARE:
                return
            before = history.size
            history.drop_events(keep=channel == appended)
            self._most_bytes += history.size - before

    def _oldest_first(self) -> list[tuple[str, History]]:
        used = [(name, history) for name, history in self._by_channel.items() if history.size]
        return sorted(used, key=lambda item: item[1].appended_at)


append_now: Callable[[Histories, LocalFeed, Callable[[], float], Event], Receipt | None] | None
append_now = compiled(
    "append_now", Histories, LocalFeed, LocalListener, ListenerQueue, YIELD_EVENTS
)
"""Compiled append and announcement of one plain event, with the given clock.

It returns None, and has appended nothing, where Python has to decide about the event. None instead
of a function: not compiled.
"""
