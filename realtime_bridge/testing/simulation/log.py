"""Log of a simulation: a history per channel, and the true order of its events."""

from collections.abc import Callable
from random import Random

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History

ALPHABET = "0123456789abcdefghijklmnopqrstuv"

FullPosition = tuple[str, int, str | None]
"""Epoch, offset and id of an event; a rolled-back log has two events with one offset."""


class SimulatedLog:
    """Log with the rules of the real logs, in virtual time.

    Args:
        random: the source of new epochs.
        clock: the virtual time in milliseconds.
        retention: the limits of each channel.

    """

    def __init__(self, random: Random, clock: Callable[[], int], retention: Retention) -> None:
        self._random = random
        self._clock = clock
        self._retention = retention
        self._histories: dict[str, History] = {}
        self.previous: dict[FullPosition, FullPosition] = {}
        """The event before each event; before an epoch's first event it is offset 0."""
        self.sources: dict[str, str | None] = {}
        """The source of each event, by id."""

    def append(self, event: Event) -> tuple[Receipt, Event | None]:
        """Append an event; return its receipt, and the event to announce."""
        history = self._history(event.channel)
        top = history.top
        result = history.append(event, now=self._clock() / 1_000, time=self._clock())
        if not result.receipt.duplicate:
            assert result.announced
            self.previous[full_position(result.announced.position)] = full_position(top)
            self.sources[event.id] = event.source
        return result.receipt, result.announced

    def read(self, channel: str, after: Position | None) -> Page | Reset:
        """Return the events after a position; without a position, an empty page at the top."""
        history = self._history(channel)
        if after is None:
            return Page(events=(), top=history.top)
        history.expire(self._clock() / 1_000)
        return history.read(after)

    def top(self, channel: str) -> Position:
        """Return the position of the channel's newest event."""
        return self._history(channel).top

    def rotate_epoch(self, channel: str) -> None:
        """End the channel's epoch."""
        self._histories.pop(channel, None)

    def lose_everything(self) -> None:
        """End all epochs, as a restart of a log in memory does."""
        self._histories.clear()

    def lose_tail(self, channel: str, events: int) -> None:
        """Remove the newest events but keep the epoch, as a failed-over Redis can."""
        full = self._history(channel)
        remaining = History(full.top.epoch, now=self._clock() / 1_000, retention=self._retention)
        page = full.read(Position(full.top.epoch, 0))
        if isinstance(page, Page):
            for event in page.events[: max(0, len(page.events) - events)]:
                remaining.append(event, now=self._clock() / 1_000, time=event.time or 0)
            self._histories[channel] = remaining

    def _history(self, channel: str) -> History:
        history = self._histories.get(channel)
        if history is None:
            epoch = "".join(self._random.choices(ALPHABET, k=8))
            now = self._clock() / 1_000
            history = History(epoch, now=now, retention=self._retention)
            self._histories[channel] = history
        return history


def full_position(position: Position | None) -> FullPosition:
    """Return epoch, offset and id; the equality of `Position` ignores the id."""
    assert position
    return position.epoch, position.offset, position.id
