"""Queries for reads, and conversion of their rows into pages and resets."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_BYTES, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.postgres.rows import COLUMNS, event_from_row, position_from_row
from realtime_bridge.protocol.publishing.history import reset_reason

APPEND = (
    'SELECT epoch, "offset", duplicate, refused, noted FROM {}.append('
    "%s, %s, %s, %s, %s, %s, %s::text[])"
)
APPEND_OWNED = (
    'SELECT epoch, "offset", duplicate, refused, noted FROM {}.append_owned('
    "%s, %s, %s, %s, %s, %s, "
    "%s::text[], %s::text[], %s::text[], %s::integer[], %s::text[], %s::text[], %s::text[])"
)

NOTIFY = "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload"

AFTER = f"""
SELECT c.epoch, c.top, c.top_id,
    CASE WHEN idle THEN c.top + 1 ELSE c.first END,
    CASE WHEN NOT idle THEN target.id END, coalesce(c.lease_at <= clock_timestamp(), false),
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
SELECT c.epoch, c.top, c.top_id, NULL, coalesce(c.lease_at <= clock_timestamp(), false), e.shown, {COLUMNS}
FROM {{0}}.channels c
LEFT JOIN LATERAL {{0}}.latest_groups(c.channel, %s, %s, %s) AS e ON true
WHERE c.channel = %s AND NOT {{0}}.is_expired(c.top, c.appended_at)
ORDER BY e.shown, e."offset"
"""  # noqa: S608, E501 -- constant columns

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

_CHANNEL, _TOP, _EVENT = slice(0, 5), slice(0, 3), slice(6, None)
IS_DUE_AFTER, IS_DUE_LATEST, _SHOWN = 5, 4, 5
"""Columns: whether a lease ran out, and the offset of a key's last event."""


def read_result(
    rows: Sequence[Sequence[Any]], after: Position | None, limit: int, unreadable: UnreadableEvents
) -> Page | Reset:
    """Return the page after a position, or the reset if the history does not continue it.

    Without a position, the rows are the oldest events.
    """
    *place, first, id_at_offset = rows[0][_CHANNEL]
    top = position_from_row(place)
    reason = after and reset_reason(after, top, first=first, stored_id=id_at_offset)
    if reason:
        return Reset(reason=reason, top=top)
    event_rows = _event_rows(rows)
    events = _readable(event_rows, unreadable)
    if len(events) < len(event_rows):  # a page may have no gap
        return Reset(reason="truncated", top=top)
    fitting = tuple(_fit(events, limit))
    return Page(events=fitting, top=top, more=len(fitting) < len(events))


def latest_page(rows: Sequence[Sequence[Any]], limit: int, unreadable: UnreadableEvents) -> Page:
    """Return the latest events of rows as one page; more keys than the limit mean that more follow.

    The events of one key are never divided between two pages.
    """
    kept = (row for row in rows if row[_SHOWN] is not None)
    groups = [[row[_EVENT] for row in group] for _, group in groupby(kept, itemgetter(_SHOWN))]
    top = position_from_row(rows[0][_TOP])
    page: list[Event] = []
    size = 0
    for group in groups:
        events = _readable(group, unreadable)
        size += sum(len(event.body) for event in events)
        if page and (len(page) + len(events) > limit or size > PAGE_BYTES):
            return Page(events=tuple(page), top=top, more=True)
        page += events
    return Page(events=tuple(page), top=top, more=len(groups) > limit)


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
