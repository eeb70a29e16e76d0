"""The log of a simulation: one history per channel, and the truth about what followed what."""

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

Place = tuple[str, int, str | None]
"""An event's epoch, offset and id: what a regressed log tells apart."""


class SimulatedLog:
    """What was appended, by the rules of the real logs, in a time that is told."""

    def __init__(self, random: Random, clock: Callable[[], int], retention: Retention) -> None:
        self._random = random
        self._clock = clock
        self._retention = retention
        self._histories: dict[str, History] = {}
        self.before: dict[Place, Place] = {}
        """What each event follows; the first of an epoch follows offset 0."""
        self.sources: dict[str, str | None] = {}
        """Who caused each event."""

    def append(self, event: Event) -> tuple[Receipt, Event | None]:
        """Append one event; return its receipt, and what is to be announced."""
        history = self._history(event.channel)
        top = history.top
        appended = history.append(event, now=self._clock() / 1_000, time=self._clock())
        if not appended.receipt.duplicate:
            assert appended.announced
            self.before[place(appended.announced.position)] = place(top)
            self.sources[event.id] = event.source
        return appended.receipt, appended.announced

    def read(self, channel: str, after: Position | None) -> Page | Reset:
        """Return what follows `after`, or where the channel stands."""
        history = self._history(channel)
        if after is None:
            return Page(events=(), top=history.top)
        history.expire(self._clock() / 1_000)
        return history.read(after)

    def top(self, channel: str) -> Position:
        """Return where the channel stands."""
        return self._history(channel).top

    def rotate_epoch(self, channel: str) -> None:
        """End the channel's epoch."""
        self._histories.pop(channel, None)

    def lose_everything(self) -> None:
        """End all epochs, as a restart of a log in memory does."""
        self._histories.clear()

    def lose_tail(self, channel: str, events: int) -> None:
        """Forget the last events but not the epoch, as a failed-over Redis may."""
        full = self._history(channel)
        kept = History(full.top.epoch, now=self._clock() / 1_000, retention=self._retention)
        page = full.read(Position(full.top.epoch, 0))
        if isinstance(page, Page):
            for event in page.events[: max(0, len(page.events) - events)]:
                kept.append(event, now=self._clock() / 1_000, time=event.time or 0)
            self._histories[channel] = kept

    def _history(self, channel: str) -> History:
        history = self._histories.get(channel)
        if history is None:
            epoch = "".join(self._random.choices(ALPHABET, k=8))
            now = self._clock() / 1_000
            history = History(epoch, now=now, retention=self._retention)
            self._histories[channel] = history
        return history


def place(position: Position | None) -> Place:
    """Return a position with its id, in a form that compares all three."""
    assert position
    return position.epoch, position.offset, position.id
