"""Comparison of the positions of the log, the feed and a subscriber."""

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position


def differs_from(here: Position, top: Position) -> bool:
    """Return whether the log's top is another position or another event than `here`."""
    return top != here or top.id != here.id


def has_advanced(here: Position, before: Position, top: Position) -> bool:
    """Return whether the feed has moved `before` on to `here`, at or past `top`."""
    return here.epoch == top.epoch and here.offset >= top.offset > before.offset


def includes(top: Position, event: Event) -> bool:
    """Return whether the log's top already counts an announced event."""
    position = event.position
    return position is not None and position.epoch == top.epoch and position.offset <= top.offset


def contradicts(page: Page, here: Position) -> bool:
    """Return whether a last page, read after `here` was announced, lacks the event of `here`."""
    if page.top.epoch != here.epoch:
        return False
    later = page.top.offset - here.offset
    stored_id = page.events[-1 - later].id if 0 < later < len(page.events) else None
    if later == 0:
        stored_id = page.top.id
    return later < 0 or (None not in (stored_id, here.id) and stored_id != here.id)
