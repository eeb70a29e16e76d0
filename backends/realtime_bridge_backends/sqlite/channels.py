"""Row of a channel, as a transaction that writes reads and changes it."""

import sqlite3

from msgspec import Struct

from realtime_bridge.model import ids
from realtime_bridge.model.names import is_label
from realtime_bridge.model.position import Position
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import METADATA_SECONDS, UNUSED_SECONDS

_FAST = "top, top_id, first, bytes, key_count, key_bytes, renewed, changed, repeated, repeated_at"
_SLOW = "epoch, state, touched, lease_at"
"""Columns that change rarely: each index of them costs as much as the row itself."""

SELECT = f"SELECT number, channel, {_FAST}, {_SLOW} FROM channels WHERE channel = ?"  # noqa: S608 -- constant columns
_SET_FAST, _SET_SLOW = (
    ", ".join(f"{name} = ?" for name in names.split(", ")) for names in (_FAST, _SLOW)
)
_UPDATE_FAST = f"UPDATE channels SET {_SET_FAST} WHERE number = ?"  # noqa: S608 -- constant columns
_UPDATE_SLOW = f"UPDATE channels SET {_SET_SLOW} WHERE number = ?"  # noqa: S608 -- constant columns
_INSERT = (
    f"INSERT INTO channels (channel, {_FAST}, {_SLOW}) "  # noqa: S608 -- constant columns
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number"
)

UNUSED, STORED, EMPTY = range(3)
"""States of a channel: no event yet, with a history, and without one."""

TABLES = ("events", "ids", "latest", "folded")
"""Tables with the contents of channels."""


class Channel(Struct):
    """Row of a channel."""

    number: int
    channel: str
    top: int
    top_id: str | None
    first: int
    bytes: int
    key_count: int
    key_bytes: int
    renewed: int
    changed: int
    repeated: int
    repeated_at: int
    epoch: str
    state: int
    touched: int
    lease_at: float | None

    @property
    def position(self) -> Position:
        """The top, with the id of its event."""
        return top_position(self.epoch, self.top, self.top_id)

    def is_expired(self, now: float) -> bool:
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
    channel = Channel(0, name, 0, None, 1, 0, 0, 0, 0, 0, 0, 0, ids.epoch(), UNUSED, int(now), None)
    row = (name, *_fast(channel), *slow_columns(channel))
    ((channel.number,),) = connection.execute(_INSERT, row).fetchall()
    return channel


def begin_again(connection: sqlite3.Connection, channel: Channel, now: float) -> None:
    """Begin another epoch of a channel, without anything of the former one."""
    for table in TABLES:
        connection.execute(f"DELETE FROM {table} WHERE channel = ?", (channel.number,))  # noqa: S608 -- a constant
    channel.epoch, channel.top, channel.top_id, channel.first = ids.epoch(), 0, None, 1
    channel.bytes = channel.key_count = channel.key_bytes = 0
    channel.touched, channel.lease_at = int(now), None
    channel.repeated = 0


Slow = tuple[str, int, int, float | None]


def store(connection: sqlite3.Connection, channel: Channel, former: Slow | None) -> None:
    """Write the row of a channel, whose rarely changed columns had these values."""
    channel.state = _state(channel)
    connection.execute(_UPDATE_FAST, (*_fast(channel), channel.number))
    if (slow := slow_columns(channel)) != former:
        connection.execute(_UPDATE_SLOW, (*slow, channel.number))


def slow_columns(channel: Channel) -> Slow:
    """Return the columns of a channel that change rarely."""
    return channel.epoch, channel.state, channel.touched, channel.lease_at


def _fast(channel: Channel) -> tuple[object, ...]:
    return (
        *(channel.top, channel.top_id, channel.first, channel.bytes, channel.key_count),
        *(channel.key_bytes, channel.renewed, channel.changed),
        *(channel.repeated, channel.repeated_at),
    )


def _state(channel: Channel) -> int:
    if not channel.top:
        return UNUSED
    return STORED if channel.first <= channel.top else EMPTY
