"""What the log answers to who reads, from the rows that PostgreSQL returns."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_BYTES, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.postgres.rows import COLUMNS, event_of
from realtime_bridge.protocol.publishing.history import discontinuity

AFTER = f"""
SELECT c.epoch, c.top, c.top_id,
    CASE WHEN expired THEN c.top + 1 ELSE c.first END,
    CASE WHEN NOT expired THEN there.id END,
    {COLUMNS}
FROM {{0}}.channels c
CROSS JOIN {{0}}.settings s
CROSS JOIN LATERAL (SELECT c.touched < now() - s.history_seconds * interval '1 s' AS expired) AS age
LEFT JOIN {{0}}.events there ON there.channel = c.channel AND there."offset" = %s
LEFT JOIN LATERAL (
    SELECT * FROM {{0}}.events e WHERE e.channel = c.channel AND e."offset" > %s AND NOT expired
    ORDER BY e."offset" LIMIT %s
) AS e ON true
WHERE c.channel = %s AND NOT {{0}}.is_dead(c.top, c.touched)
"""  # noqa: S608 -- columns of our own
"""Where a channel stands, what it has at the asked place, and what follows, as of one moment."""

LATEST = f"""
SELECT c.epoch, c.top, c.top_id, NULL, NULL, {COLUMNS}
FROM {{0}}.channels c
LEFT JOIN LATERAL (
    SELECT * FROM {{0}}.latest e WHERE e.channel = c.channel AND e."offset" > %s
    AND e."time" > extract(epoch FROM now() - interval '7 days') * 1000
    ORDER BY e."offset" LIMIT %s
) AS e ON true
WHERE c.channel = %s AND NOT {{0}}.is_dead(c.top, c.touched)
"""  # noqa: S608 -- columns of our own

SINCE = f"""
SELECT {COLUMNS}
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS w (channel, epoch, after, repeated)
JOIN LATERAL (
    SELECT * FROM {{0}}.events e
    WHERE e.channel = w.channel AND e.epoch = w.epoch AND (e."offset" > w.after OR e."offset" = w.repeated)
    ORDER BY e."offset" LIMIT %s
) AS e ON true
"""  # noqa: S608, E501 -- columns of our own
"""What came on some channels after the places that we know, and what was announced again."""

_PLACE, _EVENT = slice(0, 5), slice(5, None)


def answer(found: Sequence[Sequence[Any]], after: Position, limit: int) -> Page | Reset:
    """Return the page, or why there is no contiguous way on."""
    epoch, top, top_id, first, there = found[0][_PLACE]
    reason = discontinuity(after, Position(epoch, top, top_id), first=first, held=there)
    if reason:
        return Reset(reason=reason, top=Position(epoch, top, top_id))
    return page(found, limit)


def page(found: Sequence[Sequence[Any]], limit: int) -> Page:
    """Return as many of the rows' events as one page may have."""
    epoch, top, top_id, *_ = found[0]
    events = [event_of(row[_EVENT]) for row in found if row[_EVENT][0] is not None]
    taken = tuple(_fitting(events, limit))
    return Page(events=taken, top=Position(epoch, top, top_id), more=len(taken) < len(events))


def _fitting(events: Iterable[Event], limit: int) -> Iterator[Event]:
    size = 0
    for number, one in enumerate(events):
        size += len(one.body)
        if number == limit or (number and size > PAGE_BYTES):
            return
        yield one
