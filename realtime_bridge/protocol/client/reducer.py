"""One channel as a client sees it: duplicates dropped, gaps filled, order kept."""

from dataclasses import dataclass
from typing import Literal

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import ResetReason

CAPACITY = 256
"""Events held while a gap is being filled; beyond that the newest is dropped, and recovered."""

REMEMBERED = 256
"""Ids of applied events that are remembered, across epochs too."""

Phase = Literal["syncing", "current", "stale"]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Call the handler with this event."""

    event: Event


@dataclass(frozen=True, slots=True)
class Recover:
    """Ask the log for what follows this position; on hosted transports after a moment."""

    after: Position | None


@dataclass(frozen=True, slots=True)
class Restart:
    """Tell the handler to reload: the stream goes on from `position`, with a hole before it."""

    reason: ResetReason
    position: Position | None


Output = Deliver | Recover | Restart


class Reducer:
    """The state of one channel; each method takes what arrived and returns what to do.

    Args:
        client: this client's id: its own events advance the position and skip the handler.
        position: where an earlier run left off, if it did.

    """

    def __init__(self, *, client: str | None = None, position: Position | None = None) -> None:
        self.position: Position | None = None
        self.phase: Phase = "syncing"
        self._client = client
        self._held: dict[tuple[str, int], Event] = {}
        self._ids: dict[str, None] = {}
        self._applied: dict[int, str] = {}
        self._recovering = False
        if position:
            self._move(position)

    def event(self, event: Event) -> list[Output]:
        """Take one pushed event."""
        place = event.position
        if place is None:
            return self._handle(event)
        if self.position is None:
            self._hold(place, event)
            return []
        if place.epoch != self.position.epoch or place.offset > self.position.offset + 1:
            self._hold(place, event)
            return self._recover()
        if place.offset <= self.position.offset:
            return self._recover() if self._contradicts(place, event.id) else []
        return [*self._apply(place, event), *self._drain()]

    def page(self, events: tuple[Event, ...], *, top: Position, more: bool) -> list[Output]:
        """Take what the log returned after our position; `top` is the channel's position then."""
        self._recovering = False
        outputs: list[Output] = []
        for event in events:
            outputs += self.event(event)
        if more:
            return outputs + self._recover()
        return outputs + self._settle(top)

    def start(self, top: Position) -> list[Output]:
        """Begin at `top`: the answer to a subscription without a position."""
        self._recovering = False
        self._move(top)
        return self._settle(top)

    def reset(
        self, reason: ResetReason, top: Position | None, *, asked: Position | None = None
    ) -> list[Output]:
        """Begin anew at `top`, because there is no contiguous way there.

        An answer to what was `asked` from a place that we have left says nothing of where we are
        now: then the log is asked again.
        """
        self._recovering = False
        if asked is not None and asked != self.position:
            return self._recover()
        if top is None:
            self.phase = "current" if reason == "signal" else "stale"
            return [Restart(reason, None)]
        self._move(top)
        return [Restart(reason, top), *self._settle(top)]

    def announced(self, offset: int) -> list[Output]:
        """Take a heartbeat's or a stub's word that the channel has reached `offset`."""
        if self.position is None or offset <= self.position.offset:
            return []
        return self._recover()

    def interrupted(self) -> None:
        """Note that the connection is gone, and with it any answer that was awaited."""
        self._recovering = False
        if self.phase == "current":
            self.phase = "stale"

    def _settle(self, top: Position) -> list[Output]:
        """Call the channel current, unless what is held or known shows another gap.

        What was held of another epoch may be newer than the answer, so the log is asked once more.
        """
        outputs = self._drain()
        here = self.position
        assert here
        strangers = any(epoch != here.epoch for epoch, _ in self._held)
        self._held = {
            (epoch, offset): event
            for (epoch, offset), event in self._held.items()
            if epoch == here.epoch and offset > here.offset
        }
        if self._recovering:
            return outputs
        if self._held or strangers or (here.epoch == top.epoch and here.offset < top.offset):
            return outputs + self._recover()
        self.phase = "current"
        return outputs

    def _move(self, position: Position) -> None:
        self.position = position
        self._applied.clear()
        if position.id is not None:
            self._applied[position.offset] = position.id

    def _apply(self, place: Position, event: Event) -> list[Output]:
        is_complete = place.id == event.id
        self.position = place if is_complete else Position(place.epoch, place.offset, event.id)
        self._applied[place.offset] = event.id
        if len(self._applied) > REMEMBERED:
            del self._applied[next(iter(self._applied))]
        return self._handle(event)

    def _handle(self, event: Event) -> list[Output]:
        if event.id in self._ids:
            return []
        self._ids[event.id] = None
        if len(self._ids) > REMEMBERED:
            del self._ids[next(iter(self._ids))]
        own = event.source is not None and event.source == self._client
        return [] if own else [Deliver(event)]

    def _contradicts(self, place: Position, event_id: str) -> bool:
        return self._applied.get(place.offset, event_id) != event_id

    def _hold(self, place: Position, event: Event) -> None:
        """Keep the event until the gap is filled; where two contradict, the log shall decide."""
        known = self._held.pop((place.epoch, place.offset), event)
        if known.id == event.id and len(self._held) < CAPACITY:
            self._held[place.epoch, place.offset] = known

    def _drain(self) -> list[Output]:
        """Apply what was held and now continues the channel."""
        outputs: list[Output] = []
        while self._held and self.position:
            event = self._held.pop((self.position.epoch, self.position.offset + 1), None)
            if event is None or event.position is None:
                break
            outputs += self._apply(event.position, event)
        return outputs

    def _recover(self) -> list[Output]:
        self.phase = "stale"
        if self._recovering:
            return []
        self._recovering = True
        return [Recover(self.position)]
