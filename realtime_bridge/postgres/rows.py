"""Conversion of a row of the log into an event."""

from collections.abc import Sequence
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.names import is_label
from realtime_bridge.model.position import Position

COLUMNS = (
    'e.channel, e.epoch, e."offset", e."time", e.id, e.event, e.body, e.key, e.source, '
    "e.fold, e.attempt, e.traceparent"
)
"""The columns that `event_from_row` expects, of a table with the alias `e`."""

EVENT_COLUMNS = COLUMNS.count(",") + 1


def event_from_row(row: Sequence[Any]) -> Event:
    """Return the event of a row with `COLUMNS`.

    Raises:
        ValueError: SQL wrote the row by itself, and clients could not read the event.

    """
    channel, epoch, offset, time, event_id, name, body, key, source, *options = row
    fold, attempt, traceparent = options
    return Event.from_storage(
        channel,
        name,
        body.encode(),
        id=event_id,
        key=key,
        source=source,
        time=time,
        epoch=epoch,
        offset=offset,
        fold=fold,
        attempt=attempt,
        traceparent=traceparent,
    )


def position_from_row(row: Sequence[Any]) -> Position:
    """Return the position of a row with epoch, offset and id."""
    epoch, offset, event_id = row
    # SQL can write an id that no client accepts: the position then has none.
    return Position(epoch, offset, event_id if is_label(event_id) else None)
