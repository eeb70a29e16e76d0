"""Row of a channel, as a transaction that writes reads and changes it."""

import sqlite3

from msgspec import Struct
from msgspec.structs import astuple

from realtime_bridge.model import ids
from realtime_bridge.model.position import Position, is_label
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import METADATA_SECONDS, UNUSED_SECONDS

COLUMNS = (
    "number, channel, epoch, top, top_id, first, bytes, key_count, key_bytes, touched, renewed, "
    "changed, repeated, repeated_at, lease_at"
)

SELECT = f"SELECT {COLUMNS} FROM channels WHERE channel = ?"  # noqa: S608 -- constant columns

_INSERT = f"""
INSERT INTO channels ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET
    epoch = excluded.epoch, top = excluded.top, top_id = excluded.top_id, first = excluded.first,
    bytes = excluded.bytes, key_count = excluded.key_count, key_bytes = excluded.key_bytes,
    touched = excluded.touched, renewed = excluded.renewed, changed = excluded.changed,
    repeated = excluded.repeated, repeated_at = excluded.repeated_at, lease_at = excluded.lease_at
"""  # noqa: S608 -- constant columns

TABLES = ("events", "ids", "latest", "folded")
"""Tables with the contents of channels."""


class Channel(Struct):
    """Row of a channel."""

    number: int | None
    channel: str
    epoch: str
    top: int
    top_id: str | None
    first: int
    bytes: int
    key_count: int
    key_bytes: int
    touched: int
    renewed: int
    changed: int
    repeated: int
    repeated_at: int
    lease_at: float | None

    @property
    def position(self) -> Position:
        """The top, with the id of its event."""
        return top_position(self.epoch, self.top, self.top_id)

    def is_dead(self, now: float) -> bool:
        """Return whether the epoch is over."""
        seconds = METADATA_SECONDS if self.top else UNUSED_SECONDS
        return now - self.touched > seconds

    def has_idle_history(self, now: float, retention: Retention) -> bool:
        """Return whether the time of the history is over."""
        return now - self.touched > retention.seconds

    def has_idle_contents(self, now: float, retention: Retention) -> bool:
        """Return whether the time of the items is over."""
        return now - max(self.touched, self.renewed) > retention.seconds

    def is_due(self, now: float) -> bool:
        """Return whether a lease may have run out."""
        return self.lease_at is not None and self.lease_at <= now


def top_position(epoch: str, top: int, top_id: str | None) -> Position:
    """Return the position of a top."""
    return Position(epoch, top, top_id if is_label(top_id) else None)


def load(connection: sqlite3.Connection, name: str) -> Channel | None:
    """Return the row of a channel, if there is one."""
    row = connection.execute(SELECT, (name,)).fetchone()
    return Channel(*row) if row else None


def begin(connection: sqlite3.Connection, name: str, now: float) -> Channel:
    """Begin the first epoch of a channel."""
    channel = Channel(None, name, ids.epoch(), 0, None, 1, 0, 0, 0, int(now), 0, 0, 0, 0, None)
    store(connection, channel)
    channel.number = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
    return channel


def begin_again(connection: sqlite3.Connection, channel: Channel, now: float) -> None:
    """Begin another epoch of a channel, without anything of the former one."""
    for table in TABLES:
        connection.execute(f"DELETE FROM {table} WHERE channel = ?", (channel.number,))  # noqa: S608 -- a constant
    channel.epoch, channel.top, channel.top_id, channel.first = ids.epoch(), 0, None, 1
    channel.bytes = channel.key_count = channel.key_bytes = 0
    channel.touched, channel.lease_at = int(now), None
    channel.repeated = 0


def store(connection: sqlite3.Connection, channel: Channel) -> None:
    """Write the row of a channel."""
    connection.execute(_INSERT, astuple(channel))
