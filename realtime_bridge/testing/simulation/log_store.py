"""Log server of a simulation: a history per channel, and the true order of its events."""

from collections.abc import Callable, Iterable, Sequence

from realtime_bridge.errors import PublishError
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History

FullPosition = tuple[str, int, str | None]
"""Epoch, offset and id of an event; a rolled-back log has two events with one offset."""

Announce = Callable[[Sequence[Event]], None]


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
        self.sources: dict[str, str | None] = {}
        """The source of each event, by id."""
        self.unannounced: set[str] = set()
        """Ids of events whose announcement was lost on the way to a server."""
        self.rolled_back: set[FullPosition] = set()
        """Events that the log lost although their epoch went on."""
        self.listeners: dict[object, Announce] = {}
        self.on_stored: Callable[[Event], None] = lambda _: None
        self.on_appended: Callable[[], None] | None = None
        """Called after the next append."""
        self.on_lost: Callable[[str, int], None] = lambda _, __: None
        """Called with the channel and the offset from which the log lost its events."""
        self._clock = clock
        self._wall_clock = wall_clock
        self._retention = retention
        self._histories: dict[str, History] = {}
        self._events: dict[str, list[Event]] = {}
        """All events of the epoch of each channel."""
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
        now, time = self._clock(), int(self._wall_clock() * 1_000)
        receipts, announced = [], []
        for event in events:
            receipt, stored = self._history(event.channel).append(event, now=now, time=time)
            receipts.append(receipt)
            if stored:
                announced.append(stored)
            if stored and not receipt.duplicate:
                self._record(stored)
        for announce in list(self.listeners.values()):
            announce(announced)
        if self.on_appended:
            self.on_appended()
        return receipts

    def read(self, channel: str, after: Position, limit: int) -> Page | Reset:
        """Return the events after a position, or a reset."""
        history = self._history(channel)
        history.expire(self._clock())
        return history.read(after, limit)

    def latest(self, channel: str, after: int, limit: int) -> Page:
        """Return the latest event of each key."""
        return self._history(channel).latest(after=after, limit=limit)

    def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        return {channel: self._history(channel).top for channel in channels}

    def top(self, channel: str) -> FullPosition:
        """Return a channel's top."""
        return full_position(self._history(channel).top)

    def generation(self, configuration: str) -> int:
        """Return the generation of a configuration; each other one has a greater generation."""
        if configuration != self._configuration:
            self._configuration = configuration
            self.last_generation += 1
        return self.last_generation

    def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch if `expected_epoch` is still the channel's."""
        if self._history(channel).top.epoch == expected_epoch:
            self._forget(channel, 1)
        return self._history(channel).top

    def lose_everything(self) -> None:
        """Lose all events; each channel begins a new epoch."""
        for channel in list(self._histories):
            self._forget(channel, 1)

    def lose_tail(self, count: int) -> None:
        """Lose the last events of each channel, as a failover to a late replica does."""
        for channel, history in list(self._histories.items()):
            events, epoch = self._events[channel], history.top.epoch
            kept = events[: max(0, len(events) - count)]
            lost = (event.position for event in events[len(kept) :])
            self.rolled_back.update(full_position(position) for position in lost if position)
            self._forget(channel, len(kept) + 1, epoch=epoch)
            for event in kept:
                self._histories[channel].append(event, now=self._clock(), time=event.time or 0)
            self._events[channel] = kept

    def _history(self, channel: str) -> History:
        history = self._histories.get(channel)
        if history is None:
            self._begin(channel, ids.epoch())
            history = self._histories[channel]
        return history

    def _begin(self, channel: str, epoch: str) -> None:
        self._histories[channel] = History(epoch, now=self._clock(), retention=self._retention)
        self._events[channel] = []

    def _forget(self, channel: str, first_lost: int, *, epoch: str | None = None) -> None:
        self.on_lost(channel, first_lost)
        self._begin(channel, epoch or ids.epoch())

    def _record(self, event: Event) -> None:
        new = full_position(event.position)
        if new in self.rolled_back:
            # Clients that have this event cannot know of others before it (specification, §2.4).
            self.on_lost(event.channel, 1)
        stored = self._events[event.channel]
        before = full_position(stored[-1].position) if stored else (new[0], 0, None)
        self.previous[new[0], new[1], event.id] = before
        self.sources[event.id] = event.source
        stored.append(event)
        self.on_stored(event)


def full_position(position: Position | None) -> FullPosition:
    """Return a position as a tuple that includes the event's id."""
    assert position
    return position.epoch, position.offset, position.id
