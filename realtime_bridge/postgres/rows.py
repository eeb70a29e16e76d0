"""An event from the columns of a row."""

from collections.abc import Sequence
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position

COLUMNS = 'e.channel, e.epoch, e."offset", e."time", e.id, e.event, e.body, e.key, e.source'
"""What to select, of a table called `e`."""


def event_of(row: Sequence[Any]) -> Event:
    """Return the event of these columns."""
    channel, epoch, offset, time, held, name, body, key, source = row
    return Event.from_trusted(
        channel,
        name,
        body.encode(),
        id=held,
        key=key,
        source=source,
        time=time,
        position=Position(epoch, offset, held),
    )
