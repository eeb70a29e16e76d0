"""Comparison of the positions of the log, the feed and a subscriber."""

from collections.abc import Sequence

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset


def differs_from(here: Position, top: Position) -> bool:
    """Return whether the log's top is another position or another event than `here`."""
    return top != here or top.id != here.id


def has_advanced(here: Position, before: Position, top: Position) -> bool:
    """Return whether the feed has moved `before` on to `here`, at or past `top`."""
    return here.epoch == top.epoch and here.offset >= top.offset > before.offset


def after_top(top: Position, events: Sequence[Event]) -> Sequence[Event]:
    """Return the announced events that the log's top does not count.

    These can have its offset, or an earlier one: the log was rolled back after it was read.
    """
    for index in reversed(range(len(events))):
        if events[index].position == top and events[index].id == top.id:
            return events[index + 1 :]
    return [event for event in events if not _is_counted(event, top)]


def contradicts(answer: Page | Reset, here: Position) -> bool:
    """Return whether an answer of the log, read after `here` was announced, lacks its event."""
    events = answer.events if isinstance(answer, Page) else ()
    is_last = isinstance(answer, Reset) or not answer.more
    if answer.top.epoch != here.epoch or not is_last:
        return False
    later = answer.top.offset - here.offset
    stored_id = events[-1 - later].id if 0 < later < len(events) else None
    if later == 0:
        stored_id = answer.top.id
    return later < 0 or (None not in (stored_id, here.id) and stored_id != here.id)


def _is_counted(event: Event, top: Position) -> bool:
    position = event.position
    if position is None or position.epoch != top.epoch:
        return False
    return position.offset < top.offset or (position == top and top.id in (None, event.id))
