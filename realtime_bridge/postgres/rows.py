"""Conversion of a row of the log into an event."""

from collections.abc import Sequence
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position

COLUMNS = 'e.channel, e.epoch, e."offset", e."time", e.id, e.event, e.body, e.key, e.source'
"""The columns that `event_from_row` expects, of a table with the alias `e`."""


def event_from_row(row: Sequence[Any]) -> Event:
    """Return the event of a row with `COLUMNS`."""
    channel, epoch, offset, time, event_id, name, body, key, source = row
    # Unchecked: the log stores only events that were checked when they were published.
    return Event.from_trusted(
        channel,
        name,
        body.encode(),
        id=event_id,
        key=key,
        source=source,
        time=time,
        position=Position(epoch, offset, event_id),
    )
