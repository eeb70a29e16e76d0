"""Log server of a simulation: a history per channel, and the true order of its events."""

from collections.abc import Callable, Collection, Iterable, Sequence
from copy import deepcopy
from functools import partial

from realtime_bridge.errors import PublishError
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History
from realtime_bridge.testing.simulation.stored_channel import StoredChannel

FullPosition = tuple[str, int, str | None]
"""Epoch, offset and id of an event; a rolled-back log has two events with one offset."""

Announce = Callable[[Sequence[Event]], None]


class Witness:
    """Observer of what the log keeps for keys with owners; this one does nothing."""

    def stored(self, event: Event, before: FullPosition, at: FullPosition) -> None:
        """Observe an event as its publisher wrote it, stored at a position after another."""

    def renewed(self, lease: Lease, history: History) -> None:
        """Observe the renewal of a lease."""

    def settled(self, history: History) -> None:
        """Observe a history at the end of an operation, which has ended its silent owners."""

    def moved(self, before: FullPosition, after: FullPosition) -> None:
        """Observe that a new epoch begins with the keys of an earlier one."""

    def lost(self, channel: str) -> None:
        """Observe that a channel lost events."""


class LogStore:
    """Log with the rules of the real logs.

    Args:
        clock: returns the seconds of a monotonic clock.
        wall_clock: returns the Unix time in seconds.
        retention: the limits of each channel.

    """

    def __init__(
        self, clock: Callable[[], float], wall_clock: Callable[[], float], retention: Retention
    ) -> None:
        self.is_full: bool = False
        self.previous: dict[FullPosition, FullPosition] = {}
        """The event before each event; before an epoch's first event it is offset 0."""
        self.replaced: dict[FullPosition, set[FullPosition]] = {}
        """Earlier predecessors of an event that was lost, and stored again in its place."""
        self.sources: dict[str, str | None] = {}
        """The source of each event, by id."""
        self.unannounced: set[str] = set()
        """Ids of events whose announcement was lost on the way to a server."""
        self.rolled_back: set[FullPosition] = set()
        """Events that the log lost although their epoch went on."""
        self.listeners: dict[object, Announce] = {}
        self.witnesses: list[Witness] = []
        self.on_stored: Callable[[Event], None] = lambda _: None
        self.on_appended: Callable[[], None] | None = None
        """Called after the next append."""
        self.on_lost: Callable[[str, int], None] = lambda _, __: None
        """Called with the channel and the offset from which the log lost its events."""
        self._clock = clock
        self._wall_clock = wall_clock
        self._retention = retention
        self._channels: dict[str, StoredChannel] = {}
        self._configuration: str | None = None
        self.last_generation: int = 0
        """Generation of the configuration of the server that started last."""

    def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append events, and announce them.

        Raises:
            PublishError: the log is full.

        """
        if self.is_full:
            raise PublishError("The log is full: give it more memory")
        receipts, announced = [], []
        for event in events:
            channel = self._channel(event.channel)
            before = full_position(channel.history.top)
            receipt, stored = channel.append(event, *self._now())
            receipts.append(receipt)
            if stored:
                announced.append(stored)
            if stored and not receipt.duplicate:
                self._record(event, stored, before)
        for name in dict.fromkeys(event.channel for event in events):
            announced += self._end_silent_owners(name)
        self._announce(announced)
        if self.on_appended:
            self.on_appended()
        return receipts

    def read(self, channel: str, after: Position, limit: int) -> Page | Reset:
        """Return the events after a position, or a reset."""
        self._channel(channel).history.expire(self._clock())
        return self._settle(channel).read(after, limit)

    def latest(self, channel: str, after: int, limit: int, key: str | None = None) -> Page:
        """Return the latest event of each key, or the group of one key."""
        return self._settle(channel).latest(after=after, limit=limit, key=key)

    def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        return {channel: self._settle(channel).top for channel in channels}

    def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart leases."""
        for channel in dict.fromkeys(lease.channel for lease in leases):
            self._settle(channel, [lease.key for lease in leases if lease.channel == channel])
        return [self._renew(lease) for lease in leases]

    def top(self, channel: str) -> FullPosition:
        """Return a channel's top."""
        return full_position(self._channel(channel).history.top)

    def generation(self, configuration: str) -> int:
        """Return the generation of a configuration; each other one has a greater generation."""
        if configuration != self._configuration:
            self._configuration = configuration
            self.last_generation += 1
        return self.last_generation

    def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch if `expected_epoch` is still the channel's; the keys stay."""
        history = self._channel(channel).history
        if history.top.epoch == expected_epoch:
            self.on_lost(channel, 1)
            rotated = history.rotated(ids.epoch(), now=self._clock())
            self._channels[channel] = StoredChannel(partial(deepcopy, rotated))
            after = full_position(rotated.top)
            # The events between are trimmed: no client can receive them.
            self.previous[after] = (after[0], 0, None)
            for witness in self.witnesses:
                witness.moved(full_position(history.top), after)
                # It forgets the ids: a part whose answer was lost may be added again.
                witness.lost(channel)
        return self._channel(channel).history.top

    def lose_everything(self) -> None:
        """Lose all events; each channel begins a new epoch."""
        for name in list(self._channels):
            self.on_lost(name, 1)
            self._lose(name)
            self._begin(name)

    def lose_tail(self, count: int) -> None:
        """Lose the last events of each channel, as a failover to a late replica does."""
        for name, channel in list(self._channels.items()):
            earlier = self._channels[name] = channel.without_tail(count)
            kept, lost = full_position(earlier.history.top), full_position(channel.history.top)
            self.on_lost(name, kept[1] + 1)
            self._lose(name)
            while lost != kept:
                self.rolled_back.add(lost)
                lost = self.previous[lost]

    def _channel(self, name: str) -> StoredChannel:
        return self._channels.get(name) or self._begin(name)

    def _begin(self, name: str) -> StoredChannel:
        begin = partial(History, ids.epoch(), now=self._clock(), retention=self._retention)
        channel = self._channels[name] = StoredChannel(begin)
        return channel

    def _now(self) -> tuple[float, int]:
        return self._clock(), int(self._wall_clock() * 1_000)

    def _announce(self, events: Sequence[Event]) -> None:
        for announce in list(self.listeners.values()) if events else ():
            announce(events)

    def _settle(self, name: str, first: Collection[str] = ()) -> History:
        """End silent owners, announce that, and return the channel's history."""
        self._announce(self._end_silent_owners(name, first))
        return self._channel(name).history

    def _end_silent_owners(self, name: str, first: Collection[str] = ()) -> list[Event]:
        channel = self._channel(name)
        top = channel.history.top
        lapsed = channel.lapse(*self._now(), first)
        before = full_position(top)
        for event in lapsed:
            self._record(event, event, before)
            before = full_position(event.position)
        for witness in self.witnesses:
            witness.settled(channel.history)
        return lapsed

    def _renew(self, lease: Lease) -> Renewal:
        channel = self._channel(lease.channel)
        renewal = channel.renew(lease, self._clock())
        for witness in self.witnesses if not renewal.refused else ():
            witness.renewed(lease, channel.history)
        return renewal

    def _record(self, event: Event, stored: Event, before: FullPosition) -> None:
        new = full_position(stored.position)
        if new in self.rolled_back:
            # Clients that have this event cannot know of others before it (specification, §2.4).
            self.on_lost(event.channel, 1)
        if (known := self.previous.get(new)) not in (None, before):
            self.replaced.setdefault(new, set()).add(known)
        self.previous[new] = before
        self.sources[event.id] = event.source
        self.on_stored(stored)
        for witness in self.witnesses:
            witness.stored(event, before, new)

    def _lose(self, name: str) -> None:
        for witness in self.witnesses:
            witness.lost(name)


def full_position(position: Position | None) -> FullPosition:
    """Return a position as a tuple that includes the event's id."""
    assert position
    return position.epoch, position.offset, position.id
