"""New epoch of a channel, which begins with what describes its keys."""

import sqlite3

from realtime_bridge.model import ids
from realtime_bridge.model.key_write import items_of
from realtime_bridge.protocol.wire.stored_messages import DATA, held_event
from realtime_bridge_backends.sqlite.channels import Channel
from realtime_bridge_backends.sqlite.groups import Stored, key_group


def rotate(connection: sqlite3.Connection, channel: Channel, now: float) -> None:
    """Give the events of each key the offsets from 1 on, as if all but the last were trimmed.

    Their ids are not known: a publisher may append them again.
    """
    keys = [
        (key, key_group(connection, channel.number, key, with_parts=True))
        for (key,) in connection.execute(
            "SELECT key FROM latest WHERE channel = ?", (channel.number,)
        ).fetchall()
    ]
    keys.sort(key=lambda item: item[1][-1].offset)
    for table in ("events", "ids", "folded"):
        connection.execute(f"DELETE FROM {table} WHERE channel = ?", (channel.number,))  # noqa: S608 -- a constant
    channel.epoch, channel.top, channel.top_id = ids.epoch(), 0, None
    last = None
    for key, group in keys:
        last = _move(connection, channel, key, group)
    channel.first, channel.bytes = channel.top + 1, 0
    channel.touched, channel.repeated = int(now), 0
    if last is not None:
        # The event at the top: a client there is compared by its id.
        channel.first, channel.bytes = channel.top, last.size
        channel.top_id = held_event(last.frame).id
        place = (channel.number, channel.top, channel.top_id)
        connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)", (*place, last.size, last.frame)
        )


def _move(
    connection: sqlite3.Connection, channel: Channel, key: str, group: list[Stored]
) -> Stored:
    """Write the events of one key at the next offsets, and return the last one."""
    offsets = {"base": 0, "end": 0, "note": 0, "part": 0}
    for stored in group:
        channel.top += 1
        offsets[stored.kind] = channel.top
        if stored.kind == "base":
            continue
        frame = stored.frame
        if stored.kind == "part":
            frame = items_of(frame[frame.index(DATA) + len(DATA) : -1])
        connection.execute(
            "INSERT INTO folded VALUES (?, ?, ?, ?, ?, ?, ?)",
            (channel.number, key, channel.top, stored.kind, stored.name, stored.size, frame),
        )
    last = max(offsets["base"], offsets["end"], offsets["note"])
    connection.execute(
        'UPDATE latest SET last = ?, "offset" = ?, ended = ?, noted = ? '
        "WHERE channel = ? AND key = ?",
        (last, offsets["base"], offsets["end"], offsets["note"], channel.number, key),
    )
    return group[-1]
