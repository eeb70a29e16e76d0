"""Reads of channels, each on one state of the file."""

import sqlite3
import time
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import (
    METADATA_SECONDS,
    UNUSED_SECONDS,
    reset_reason,
)
from realtime_bridge.protocol.wire.stored_messages import held_event
from realtime_bridge_backends.sqlite import channels
from realtime_bridge_backends.sqlite.channels import Channel
from realtime_bridge_backends.sqlite.database import reading
from realtime_bridge_backends.sqlite.groups import Stored, key_group

_EVENTS = """
SELECT "offset", size, frame FROM events WHERE channel = ? AND "offset" > ?
ORDER BY "offset" LIMIT ?
"""

_KEYS = """
SELECT key FROM latest WHERE channel = ? AND last > ? AND touched >= ? ORDER BY last LIMIT ?
"""


class Reader:
    """Reads of one connection.

    Each returns None where the channel has no epoch, or something is due that only a write does.

    Args:
        connection: the connection.
        retention: the history that a channel keeps.
        unreadable: counts the events that cannot be read.

    """

    def __init__(
        self, connection: sqlite3.Connection, retention: Retention, unreadable: UnreadableEvents
    ) -> None:
        self._connection = connection
        self._retention = retention
        self._unreadable = unreadable

    def positions(self, names: Sequence[str]) -> dict[str, Position]:
        """Return the tops of the channels for which nothing is due."""
        now = time.time()
        with reading(self._connection):
            rows = {name: self._current(name, now) for name in names}
        return {name: row.position for name, row in rows.items() if row}

    def page(self, name: str, after: Position | None, limit: int) -> Page | Reset | None:
        """Return the events after a position or the oldest ones, or a reset."""
        now = time.time()
        with reading(self._connection):
            channel = self._current(name, now)
            if channel is None:
                return None
            is_idle = channel.has_idle_history(now, self._retention)
            first = channel.top + 1 if is_idle else channel.first
            if after is None:
                after = Position(channel.epoch, first - 1)
            elif reason := reset_reason(
                after, channel.position, first=first, stored_id=self._id_at(channel, after, first)
            ):
                return Reset(reason=reason, top=channel.position)
            place = (channel.number, after.offset, min(limit, PAGE_EVENTS) + 1)
            rows = self._connection.execute(_EVENTS, place).fetchall()
        fitting = _fit(rows, min(limit, PAGE_EVENTS))
        events = self.events(channel, fitting)
        if len(events) < len(fitting):  # a page may have no gap
            return Reset(reason="truncated", top=channel.position)
        more = len(fitting) < len(rows)
        return Page(events=tuple(events), top=channel.position, more=more)

    def latest(self, name: str, after: int, limit: int, key: str | None) -> Page | None:
        """Return the latest event of each key, or the state of one."""
        now = time.time()
        with reading(self._connection):
            channel = self._current(name, now)
            if channel is None:
                return None
            groups = self._groups(channel, after, min(limit, PAGE_EVENTS), key, now)
        return self._latest_page(channel, groups, min(limit, PAGE_EVENTS))

    def names(self, *, stored: bool) -> list[str]:
        """Return the names of all channels, or of those with stored events."""
        command = "SELECT channel FROM channels WHERE state = ? OR NOT ?"
        rows = self._connection.execute(command, (channels.STORED, stored))
        return [name for (name,) in rows]

    def events(self, channel: Channel, rows: Iterable[tuple[int, int, bytes]]) -> list[Event]:
        """Return the readable events of rows, at their places in the epoch."""
        return list(
            self._unreadable.read_all(
                channel.channel, rows, lambda row: event_at(channel.epoch, row[0], row[2])
            )
        )

    def _current(self, name: str, now: float) -> Channel | None:
        channel = channels.load(self._connection, name)
        if channel is None or channel.is_expired(now) or channel.is_due(now):
            return None
        # Another epoch would be a gap for the readers of one without an event.
        if not channel.top and now - channel.touched > UNUSED_SECONDS / 2:
            return None
        return channel

    def _id_at(self, channel: Channel, after: Position, first: int) -> str | None:
        if not first <= after.offset < channel.top:
            return None
        row = self._connection.execute(
            'SELECT id FROM events WHERE channel = ? AND "offset" = ?',
            (channel.number, after.offset),
        ).fetchone()
        return row[0] if row else None

    def _groups(
        self, channel: Channel, after: int, limit: int, key: str | None, now: float
    ) -> list[list[Stored]]:
        number = channel.number
        if key is not None:
            with_parts = not channel.has_idle_contents(now, self._retention)
            group = key_group(self._connection, number, key, with_parts=with_parts)
            return [group] if group and group[-1].offset > after else []
        place = (number, after, now - METADATA_SECONDS, limit + 1)
        return [
            key_group(self._connection, number, name, with_parts=False)
            for (name,) in self._connection.execute(_KEYS, place).fetchall()
        ]

    def _latest_page(self, channel: Channel, groups: list[list[Stored]], limit: int) -> Page:
        page: list[Event] = []
        size = 0
        for group in groups:
            rows = [(stored.offset, stored.size, stored.frame) for stored in group]
            size += sum(stored.size for stored in group)
            if page and (len(page) + len(group) > limit or size > PAGE_BYTES):
                return Page(events=tuple(page), top=channel.position, more=True)
            page += self.events(channel, rows)
        return Page(events=tuple(page), top=channel.position, more=len(groups) > limit)


def event_at(epoch: str, offset: int, frame: bytes) -> Event:
    """Return the event of a frame at its place: an epoch that ends leaves the frames unchanged.

    Raises:
        ProtocolError: another program wrote the frame, and clients could not read it.

    """
    event = held_event(frame)
    position = event.position
    if position and position.offset == offset and position.epoch == epoch:
        return event
    return replace(event, position=Position(epoch, offset, event.id))


def _fit(rows: list[tuple[int, int, bytes]], limit: int) -> list[tuple[int, int, bytes]]:
    size = 0
    for count, (_, length, _) in enumerate(rows):
        size += length
        if count == limit or (count and size > PAGE_BYTES):  # the first event always fits
            return rows[:count]
    return rows
