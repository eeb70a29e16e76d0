"""Events of all channels in a log, within one bound."""

from collections import deque
from collections.abc import Callable, Iterable

from realtime_bridge.model.event import Event
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import EVENT_BYTES, Appended, History

EXPIRE_SECONDS = 0.001
"""The shortest time between two appends that expire channels."""

EXPIRE_CHANNELS = 2
"""Channels checked at once. Two per new channel delete at least as many as are created."""

REMAINING_SHARE = 0.9
"""Part of the bound that an eviction leaves: each visits all channels, so it must be rare."""


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

    """

    def __init__(
        self, retention: Retention, new_epoch: Callable[[], str], *, max_bytes: int
    ) -> None:
        self._retention = retention
        self._new_epoch = new_epoch
        self._max_bytes = max_bytes
        self._most_bytes = 0
        """At least the memory of all events: what was measured, and all that was appended since."""
        self._by_channel: dict[str, History] = {}
        self._expiry_order: deque[str] = deque()
        """Channels in the order of their next check."""
        self._next_expiry = 0.0

    def __len__(self) -> int:
        return len(self._by_channel)

    @property
    def size(self) -> int:
        """Memory of all events, in bytes."""
        return sum(history.size for history in self._by_channel.values())

    def append(self, events: Iterable[Event], *, now: float, time: int) -> list[Appended]:
        """Store events, each in its channel; `time` is in Unix ms."""
        if now >= self._next_expiry:
            self._next_expiry = now + EXPIRE_SECONDS
            self._expire(now)
        appended = []
        for event in events:
            # Most channels exist: without the call, a publish takes 3 % less.
            history = self._by_channel.get(event.channel) or self.of(event.channel, now)
            appended.append(history.append(event, now=now, time=time))
            # The sizes of all channels are added only when this estimate reaches the bound.
            self._most_bytes += 2 * (len(event.body) + EVENT_BYTES)
            if self._most_bytes > self._max_bytes:
                self._evict(event.channel, now)
        return appended

    def of(self, channel: str, now: float) -> History:
        """Return the history of a channel."""
        history = self._by_channel.get(channel)
        if history is None:
            self._expire(now)
            history = self.begin(channel, now)
            self._expiry_order.append(channel)
        return history

    def current(self, channel: str, now: float) -> History:
        """Return the history of a channel, without what has expired."""
        history = self.of(channel, now)
        history.expire(now)
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

    def _expire(self, now: float) -> None:
        """Check the channels whose last check is the oldest, and delete the expired ones."""
        for _ in range(min(EXPIRE_CHANNELS, len(self._expiry_order))):
            channel = self._expiry_order.popleft()
            if self._by_channel[channel].expire(now):
                del self._by_channel[channel]
            else:
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
