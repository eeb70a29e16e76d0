"""Reducer of one channel: drops duplicates, fills gaps and keeps the order."""

from dataclasses import dataclass
from typing import Literal

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import ResetReason

CAPACITY = 256
"""Limit of events held while a gap is filled; a further one is dropped, and recovered later."""

STORED_IDS = 256
"""Limit of stored ids of applied events; they span epochs."""

WENT_BACK = ("ahead", "regressed")
"""Reasons of resets that move a client back within an epoch: the log lost its last events."""

Phase = Literal["syncing", "current", "stale"]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Call of the handler with an event."""

    event: Event


@dataclass(frozen=True, slots=True)
class Recover:
    """Request to the log for the events after a position."""

    after: Position | None


@dataclass(frozen=True, slots=True)
class Restart:
    """Call of the handler with a reset: events before `position` are missing."""

    reason: ResetReason
    position: Position | None


Output = Deliver | Recover | Restart


class Reducer:
    """State of one channel; each method handles an input and returns the outputs.

    Args:
        client: Id of this client: its own events advance the position and skip the handler.
        position: Position to resume from.

    """

    def __init__(self, *, client: str | None = None, position: Position | None = None) -> None:
        self.position: Position | None = None
        self.phase: Phase = "syncing"
        self._client = client
        self._held: dict[tuple[str, int], Event] = {}
        self._ids: dict[str, bool] = {}
        """Ids of applied events, and whether each has a key: it changes a state then."""
        self._applied: dict[int, str] = {}
        self._recovering = False
        self._contradicted = False
        """True while the server sends another history than ours, until the log answers."""
        self._begun = False
        if position:
            self._move(position)

    @property
    def is_new(self) -> bool:
        """True while the handler got nothing, and the channel has no position."""
        return not self._begun and self.position is None

    def event(self, event: Event) -> list[Output]:
        """Handle a pushed event."""
        place = event.position
        if place is None:
            return self._handle(event)
        if self.position is None:
            self._hold(place, event)
            return []
        distance = place.offset - self.position.offset
        is_same_epoch = place.epoch == self.position.epoch
        if is_same_epoch and distance <= 0:
            if not self._contradicts(place, event.id):
                return []
            self._contradicted = True
            return self._recover()
        # After a contradiction the next event continues the other history: the log decides.
        if self._contradicted or not is_same_epoch or distance > 1:
            self._hold(place, event)
            return self._recover()
        return [*self._apply(place, event), *self._drain()]

    def page(self, events: tuple[Event, ...], *, top: Position, more: bool) -> list[Output]:
        """Handle a page of the log after our position; the channel stood at `top` then."""
        self._recovering = False
        if self._contradicted and self._has_passed(top):
            # The answer to an earlier request: one from our position ends there or later.
            return self._recover()
        # The log continues our history. It may have answered before it lost the other one, whose
        # events are held: it is read again.
        has_other_history = (self._contradicted and bool(self._held)) or any(
            map(self._contradicts_held, events)
        )
        if has_other_history:
            self._held.clear()
        self._contradicted = False
        outputs: list[Output] = []
        for event in events:
            outputs += self.event(event)
            if self._contradicted:
                # The log was rolled back before it was read: the page continues another history.
                return outputs
        self._contradicted = not more and self._contradicts(top, top.id)
        must_recover = more or has_other_history or self._contradicted
        return outputs + (self._recover() if must_recover else self._settle(top))

    def start(self, top: Position) -> list[Output]:
        """Start at `top`, the answer to a subscription without a position."""
        self._recovering = False
        self._move(top)
        return self._settle(top)

    def reset(
        self, reason: ResetReason, top: Position | None, *, asked: Position | None = None
    ) -> list[Output]:
        """Restart at `top`, since the log lacks events before it.

        In a new channel nothing is missing: its handler gets no reset.

        Args:
            reason: Reason of the reset.
            top: Position of the channel; None without a log, or without access.
            asked: Position in the request that this answers. Where the client stands elsewhere
                by now, the answer proves nothing, and another request follows. The same holds for
                a reset from before our position, unless the answer reports that the log went back.

        """
        self._recovering = False
        if asked is not None and not self._is_at(asked):
            return self._recover()
        if self._has_passed(top) and (asked is None or reason not in WENT_BACK):
            return self._recover()
        restarts: list[Output] = [] if self.is_new else [Restart(reason, top)]
        self._begun = True
        if top is None:
            self.phase = "current" if reason == "signal" else "stale"
            return restarts
        self._move(top)
        # The state that is loaded after a reset lacks what the log stores after `top`, also if it
        # had the same event before, and lost it.
        self._ids = {event_id: False for event_id, has_key in self._ids.items() if not has_key}
        return [*restarts, *self._settle(top)]

    def announced(self, offset: int) -> list[Output]:
        """Compare the offset of a heartbeat or stub with our position."""
        if self.position is None or offset <= self.position.offset:
            return []
        return self._recover()

    def interrupted(self) -> None:
        """Handle a lost connection: an expected answer will not arrive.

        It will not report either that the log lost the held events: the log's answer decides.
        """
        self._recovering = False
        self._held.clear()
        if self.phase == "current":
            self.phase = "stale"

    def _is_at(self, asked: Position) -> bool:
        """Return whether we stand where a request was made; a rolled-back log reuses offsets."""
        here = self.position
        return here is not None and here == asked and here.id == asked.id

    def _has_passed(self, top: Position | None) -> bool:
        here = self.position
        return bool(here and top and here.epoch == top.epoch and here.offset > top.offset)

    def _settle(self, top: Position) -> list[Output]:
        """Mark the channel as current, unless held events or `top` show another gap.

        Held events of another epoch may be newer than the answer, so another request follows.
        """
        outputs = self._drain()
        here = self.position
        assert here
        has_other_epoch = any(epoch != here.epoch for epoch, _ in self._held)
        self._held = {
            (epoch, offset): event
            for (epoch, offset), event in self._held.items()
            if epoch == here.epoch and offset > here.offset
        }
        if self._recovering:
            return outputs
        if self._held or has_other_epoch or (here.epoch == top.epoch and here.offset < top.offset):
            return outputs + self._recover()
        self.phase = "current"
        return outputs

    def _move(self, position: Position) -> None:
        self.position = position
        self._contradicted = False
        self._applied.clear()
        if position.id is not None:
            self._applied[position.offset] = position.id

    def _apply(self, place: Position, event: Event) -> list[Output]:
        is_complete = place.id == event.id
        self.position = place if is_complete else Position(place.epoch, place.offset, event.id)
        self._applied[place.offset] = event.id
        if len(self._applied) > STORED_IDS:
            del self._applied[next(iter(self._applied))]
        return self._handle(event)

    def _handle(self, event: Event) -> list[Output]:
        self._begun = True
        if event.id in self._ids:
            return []
        self._ids[event.id] = event.key is not None
        if len(self._ids) > STORED_IDS:
            del self._ids[next(iter(self._ids))]
        own = event.source is not None and event.source == self._client
        return [] if own else [Deliver(event)]

    def _contradicts(self, place: Position, event_id: str | None) -> bool:
        """Return whether we applied another event at this place of our epoch."""
        if event_id is None or self.position is None or place.epoch != self.position.epoch:
            return False
        return self._applied.get(place.offset, event_id) != event_id

    def _contradicts_held(self, event: Event) -> bool:
        place = event.position
        held = self._held.get((place.epoch, place.offset)) if place else None
        return held is not None and held.id != event.id

    def _hold(self, place: Position, event: Event) -> None:
        """Hold an event until the gap is filled; drop two with one offset: the log decides."""
        if self._contradicts_held(event):
            del self._held[place.epoch, place.offset]
        elif len(self._held) < CAPACITY:
            self._held[place.epoch, place.offset] = event

    def _drain(self) -> list[Output]:
        """Apply held events that follow our position."""
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
