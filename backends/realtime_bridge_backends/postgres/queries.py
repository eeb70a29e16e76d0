"""Queries for reads, and conversion of their rows into pages and resets."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_BYTES, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.postgres.rows import COLUMNS, event_from_row, position_from_row
from realtime_bridge.protocol.publishing.history import reset_reason

AFTER = f"""
SELECT c.epoch, c.top, c.top_id,
    CASE WHEN idle THEN c.top + 1 ELSE c.first END,
    CASE WHEN NOT idle THEN target.id END,
    {COLUMNS}
FROM {{0}}.channels c
CROSS JOIN {{0}}.settings s
CROSS JOIN LATERAL (SELECT c.appended_at < now() - s.history_seconds * interval '1 s' AS idle) AS age
LEFT JOIN {{0}}.events target ON target.channel = c.channel AND target."offset" = %s
LEFT JOIN LATERAL (
    SELECT * FROM {{0}}.events e WHERE e.channel = c.channel AND e."offset" > %s AND NOT idle
    ORDER BY e."offset" LIMIT %s
) AS e ON true
WHERE c.channel = %s AND NOT {{0}}.is_expired(c.top, c.appended_at)
"""  # noqa: S608, E501 -- constant columns
"""The channel's top, its first offset, the id at the requested offset, and the events after it.
One statement, and so one snapshot: an append between two statements would look like a gap. The
history of an idle channel counts as deleted, before `expire_channels` deletes it."""

LATEST = f"""
SELECT c.epoch, c.top, c.top_id, NULL, NULL, {COLUMNS}
FROM {{0}}.channels c
LEFT JOIN LATERAL (
    SELECT * FROM {{0}}.latest e WHERE e.channel = c.channel AND e."offset" > %s
    AND e."time" > extract(epoch FROM now() - interval '7 days') * 1000
    ORDER BY e."offset" LIMIT %s
) AS e ON true
WHERE c.channel = %s AND NOT {{0}}.is_expired(c.top, c.appended_at)
"""  # noqa: S608 -- constant columns

SINCE = f"""
SELECT {COLUMNS}
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS w (channel, epoch, after, duplicate)
JOIN LATERAL (
    SELECT * FROM {{0}}.events e
    WHERE e.channel = w.channel AND e.epoch = w.epoch AND (e."offset" > w.after OR e."offset" = w.duplicate)
    ORDER BY e."offset" LIMIT %s
) AS e ON true
"""  # noqa: S608, E501 -- constant columns
"""Events after known positions of several channels, and the events that were sent again."""

_CHANNEL, _EVENT, _TOP = slice(0, 5), slice(5, None), slice(0, 3)


def read_result(
    rows: Sequence[Sequence[Any]], after: Position, limit: int, unreadable: UnreadableEvents
) -> Page | Reset:
    """Return the page after a position, or the reset if the history does not continue it."""
    *place, first, id_at_offset = rows[0][_CHANNEL]
    top = position_from_row(place)
    reason = reset_reason(after, top, first=first, stored_id=id_at_offset)
    if reason:
        return Reset(reason=reason, top=top)
    event_rows = _event_rows(rows)
    events = _readable(event_rows, unreadable)
    if len(events) < len(event_rows):  # a page may have no gap
        return Reset(reason="truncated", top=top)
    fitting = tuple(_fit(events, limit))
    return Page(events=fitting, top=top, more=len(fitting) < len(events))


def latest_page(rows: Sequence[Sequence[Any]], limit: int, unreadable: UnreadableEvents) -> Page:
    """Return the latest events of rows as one page; `limit + 1` rows mean that more follow."""
    event_rows = _event_rows(rows)
    events = _readable(event_rows, unreadable)
    fitting = tuple(_fit(events, limit))
    more = len(fitting) < len(events) or len(event_rows) > limit
    return Page(events=fitting, top=position_from_row(rows[0][_TOP]), more=more)


def _event_rows(rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    return [row[_EVENT] for row in rows if row[_EVENT][0] is not None]


def _readable(rows: Sequence[Sequence[Any]], unreadable: UnreadableEvents) -> list[Event]:
    return list(unreadable.read_all(rows[0][0], rows, event_from_row)) if rows else []


def _fit(events: Iterable[Event], limit: int) -> Iterator[Event]:
    size = 0
    for number, event in enumerate(events):
        size += len(event.body)
        if number == limit or (number and size > PAGE_BYTES):  # the first event always fits
            return
        yield event
