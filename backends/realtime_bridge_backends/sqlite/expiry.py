"""Deletion of events, ids, keys and items whose time is over."""

import sqlite3

from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import (
    ID_SECONDS,
    MAX_IDS,
    METADATA_SECONDS,
    MIN_IDS,
    UNUSED_SECONDS,
)
from realtime_bridge_backends.sqlite import channels
from realtime_bridge_backends.sqlite.channels import Channel

TRIM_EVENTS, TRIM_SHARE = 64, 1.1
"""Events, and share of the bytes, over the limits at which a history is trimmed: a trim for each
event would cost as much as the append."""

EXPIRY_CHANNELS = 10
"""Channels of one transaction that expires them: each may have a thousand events."""

TRIM_IDS = 1_000
"""Ids that one trim deletes, at most."""


def expire(
    connection: sqlite3.Connection, channel: Channel, retention: Retention, now: float
) -> bool:
    """Remove from a channel what is over; return whether its row changed."""
    if channel.is_expired(now):
        channels.begin_again(connection, channel, now)
        return True
    changed = False
    if channel.first <= channel.top and channel.has_idle_history(now, retention):
        drop_events(connection, channel)
        changed = True
    if channel.key_count and channel.has_idle_contents(now, retention):
        changed |= _drop_contents(connection, channel)
    return changed


def drop_events(connection: sqlite3.Connection, channel: Channel) -> None:
    """Remove the history of a channel."""
    connection.execute("DELETE FROM events WHERE channel = ?", (channel.number,))
    channel.first, channel.bytes = channel.top + 1, 0


def trim(
    connection: sqlite3.Connection, channel: Channel, retention: Retention, now: float
) -> None:
    """Remove the events, ids and keys over the limits, some at a time."""
    count = channel.top - channel.first + 1
    if count < retention.events + TRIM_EVENTS and channel.bytes <= retention.bytes * TRIM_SHARE:
        return
    rows = connection.execute(
        'SELECT "offset", size FROM events WHERE channel = ? ORDER BY "offset"', (channel.number,)
    )
    cut = 0
    for offset, size in rows:
        # The last event stays, whatever its size: a client at the top before it can recover.
        if offset == channel.top or (
            channel.top - offset + 1 <= retention.events and channel.bytes <= retention.bytes
        ):
            break
        cut = offset
        channel.bytes -= size
    rows.close()
    if cut:
        connection.execute(
            'DELETE FROM events WHERE channel = ? AND "offset" <= ?', (channel.number, cut)
        )
        channel.first = cut + 1
    _trim_ids(connection, channel, now)
    _expire_keys(connection, channel, now)


def names_of_due_channels(
    connection: sqlite3.Connection, retention: Retention, now: float
) -> list[str]:
    """Return a few channels with owners that are silent, or with events whose time is over."""
    rows = connection.execute(
        "SELECT channel FROM channels WHERE lease_at <= ? LIMIT ?", (now, EXPIRY_CHANNELS)
    ).fetchall()
    rows += connection.execute(
        "SELECT channel FROM channels WHERE state = ? AND touched < ? LIMIT ?",
        (channels.STORED, int(now - retention.seconds), EXPIRY_CHANNELS),
    ).fetchall()
    return [name for (name,) in rows]


def drop_expired(connection: sqlite3.Connection, now: float) -> int:
    """Delete a few channels whose epochs are over, and return their number."""
    expired = []
    for state, seconds in ((channels.EMPTY, METADATA_SECONDS), (channels.UNUSED, UNUSED_SECONDS)):
        expired += connection.execute(
            "SELECT number FROM channels WHERE state = ? AND touched < ? LIMIT ?",
            (state, int(now - seconds), EXPIRY_CHANNELS),
        ).fetchall()
    for table in channels.TABLES:
        connection.executemany(f"DELETE FROM {table} WHERE channel = ?", expired)  # noqa: S608 -- a constant
    connection.executemany("DELETE FROM channels WHERE number = ?", expired)
    return len(expired)


def _trim_ids(connection: sqlite3.Connection, channel: Channel, now: float) -> None:
    oldest = int(now - ID_SECONDS)
    rows = connection.execute(
        'SELECT "offset", noted FROM ids WHERE channel = ? AND "offset" <= ? '
        'ORDER BY "offset" LIMIT ?',
        (channel.number, channel.top - MIN_IDS, TRIM_IDS),
    )
    cut = 0
    for offset, noted in rows:
        # In order of their offsets, and so of their times: the rest is younger.
        if noted >= oldest and offset > channel.top - MAX_IDS:
            break
        cut = offset
    rows.close()
    if cut:
        connection.execute(
            'DELETE FROM ids WHERE channel = ? AND "offset" <= ?', (channel.number, cut)
        )


def _expire_keys(connection: sqlite3.Connection, channel: Channel, now: float) -> None:
    rows = connection.execute(
        "SELECT channel, key, size + kept_bytes + content_bytes FROM latest "
        "WHERE channel = ? AND touched < ?",
        (channel.number, now - METADATA_SECONDS),
    ).fetchall()
    for number, key, size in rows:
        for table in ("latest", "folded"):
            connection.execute(
                f"DELETE FROM {table} WHERE channel = ? AND key = ?",  # noqa: S608 -- a constant
                (number, key),
            )
        channel.key_count -= 1
        channel.key_bytes -= size


def _drop_contents(connection: sqlite3.Connection, channel: Channel) -> bool:
    """Remove the items of all keys; return whether there were some."""
    ((size,),) = connection.execute(
        "SELECT sum(content_bytes) FROM latest WHERE channel = ? AND part_head IS NOT NULL",
        (channel.number,),
    ).fetchall()
    if size is None:
        return False
    connection.execute("DELETE FROM folded WHERE channel = ? AND kind = 'part'", (channel.number,))
    connection.execute(
        "UPDATE latest SET content_bytes = 0, is_trimmed = 1, part_head = NULL "
        "WHERE channel = ? AND part_head IS NOT NULL",
        (channel.number,),
    )
    channel.key_bytes -= size
    return True
