"""Append of plain events to many histories; compiled alone."""

from collections.abc import Callable

from realtime_bridge.compiled import compiled
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import (
    EVENT_BYTES,
    ID_SECONDS,
    MAX_IDS,
    MIN_IDS,
    NO_EVENTS,
    NO_IDS,
    NO_KEYS,
    History,
)
from realtime_bridge.protocol.publishing.latest_keys import LatestKeys

_AppendPlain = Callable[
    [dict[str, History], list[Event], int, float, int, int, list[Receipt], list[Event]],
    tuple[int, int],
]

append_plain: _AppendPlain | None = compiled(
    "append_plain",
    (Event, Position, Receipt, Retention, History, LatestKeys),
    (NO_EVENTS, NO_IDS, NO_KEYS),
    (MIN_IDS, MAX_IDS, ID_SECONDS, EVENT_BYTES),
)
"""Compiled append of the events from an index on, up to the first that needs a decision: an event
of a known id, of an owned key, of a new channel, or beyond the memory. None: not compiled.

Its arguments are the histories by channel, the events, the index, `now` and `time` as in
`History.append`, the free memory in bytes, and the lists to which it adds receipts and the events
to announce. It returns the index and the free memory afterwards.
"""
