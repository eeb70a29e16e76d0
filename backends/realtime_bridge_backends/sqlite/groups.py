"""Events that describe a key, as the file has them."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple


class Stored(NamedTuple):
    """Event of a key: its kind, its name, the size of its data, and its frame."""

    offset: int
    kind: str
    name: str
    size: int
    frame: bytes


def key_group(
    connection: sqlite3.Connection, number: int, key: str, *, with_parts: bool
) -> list[Stored]:
    """Return the events that describe a key, by offset; the parts are merged into one."""
    base = connection.execute(
        'SELECT "offset", size, part_head, frame FROM latest WHERE channel = ? AND key = ?',
        (number, key),
    ).fetchone()
    if base is None:
        return []
    offset, size, part_head, frame = base
    group = [] if frame is None else [Stored(offset, "base", "", size, frame)]
    rows = connection.execute(
        'SELECT "offset", kind, name, size, frame FROM folded WHERE channel = ? AND key = ? '
        "AND kind <> 'part'",
        (number, key),
    )
    group += map(Stored._make, rows)
    if with_parts and part_head is not None:
        group += _merged(connection, number, key, part_head)
    return sorted(group)


def _merged(connection: sqlite3.Connection, number: int, key: str, head: bytes) -> Iterator[Stored]:
    rows = connection.execute(
        'SELECT "offset", name, frame FROM folded WHERE channel = ? AND key = ? '
        "AND kind = 'part' ORDER BY \"offset\"",
        (number, key),
    ).fetchall()
    # Also without items: a reader's page ends at this offset.
    offset, name, _ = rows[-1]
    items = b",".join(items for *_, items in rows if items)
    yield Stored(offset, "part", name, len(items) + 2, b"%b[%b]}" % (head, items))
