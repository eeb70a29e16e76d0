"""Steps of a stream: what its events mean to a reader."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.streams.snapshot import (
    UNKNOWN_STREAM,
    StreamPhase,
    fold_group,
    fold_stream,
)

PAST_MS = 60_000
"""Age of an end, in ms, beyond which a page has the answer from its own database."""


class Started(Struct, frozen=True, gc=False):
    """Start of an attempt; the items of earlier ones are worthless."""

    position: Position
    stream: str | None
    attempt: str | None
    format: str
    meta: Any
    trimmed: bool = False


class Items(Struct, frozen=True, gc=False):
    """Further items."""

    position: Position
    items: Sequence[Any]


class Lost(Struct, frozen=True, gc=False):
    """Silence of the writer; more items or an end may follow."""

    position: Position


class Ended(Struct, frozen=True, gc=False):
    """End of the stream."""

    position: Position
    state: StreamPhase
    error: str | None
    by: str | None


Step = Started | Items | Lost | Ended


def read_step(event: Event) -> Step | None:
    """Return the step of an event of the stream's key; None for a note and for unreadable data."""
    position = event.position
    assert position
    match event.fold:
        case "append":
            items = event.data
            return Items(position, items) if isinstance(items, list) else None
        case "lapse":
            return Lost(position)
        case "note":
            return None
    state, data = fold_stream(UNKNOWN_STREAM, event), event.data
    if state.state == "unknown":
        return None
    if event.fold is None:
        return Started(position, state.stream, state.attempt, state.format, state.meta)
    by = data.get("by") if isinstance(data, dict) else None
    return Ended(position, state.state, state.error, by if isinstance(by, str) else None)


def read_group(events: Sequence[Event]) -> list[Step]:
    """Return the steps that the group of a stream's key describes."""
    steps = [step for step in map(read_step, events) if step]
    if steps and isinstance(steps[0], Started) and fold_group(events).trimmed:
        steps[0] = replace(steps[0], trimmed=True)
    return steps


def is_over_at(events: Sequence[Event], position: Position) -> bool:
    """Return whether the stream had ended at a position, so that nothing follows it."""
    return any(
        event.fold == "end"
        and event.position
        and event.position.epoch == position.epoch
        and event.position.offset <= position.offset
        for event in events
    )


def is_past(events: Sequence[Event], now_ms: int) -> bool:
    """Return whether a stream ended, or was lost, more than `PAST_MS` ago."""
    last = events[-1] if events else None
    if last is None or last.fold not in ("end", "lapse"):
        return False
    return last.time is not None and last.time < now_ms - PAST_MS
