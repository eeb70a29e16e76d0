"""Keys of a channel, as a transaction that writes reads and changes them."""

import sqlite3
from collections.abc import Collection, Iterator
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite, Refusal, Will, items_of
from realtime_bridge.model.receipt import Renewal
from realtime_bridge.protocol.publishing.latest_keys import MAX_KEY_BYTES, MAX_KEYS
from realtime_bridge.protocol.publishing.owned_keys import (
    MAX_NOTES,
    KeyOwner,
    offset_of,
    refusal,
)
from realtime_bridge.protocol.wire.stored_messages import DATA
from realtime_bridge_backends.sqlite.channels import Channel

MORE_KEYS = 64
"""Keys over the limit at which the oldest ones are evicted, together."""

_COLUMNS = (
    'last, "offset", size, kept_bytes, content_bytes, is_trimmed, attempt, ended, is_lapsed, '
    "lease, expires, noted, touched, will_event, will_body, part_head"
)
_SELECT = f"SELECT {_COLUMNS} FROM latest WHERE channel = ? AND key = ?"  # noqa: S608 -- constants
_SET = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", "))
_UPSERT = f"""
INSERT INTO latest (channel, key, {_COLUMNS}, frame)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (channel, key) DO UPDATE SET {_SET}, frame = coalesce(excluded.frame, frame)
"""  # noqa: S608 -- constant columns

_FOLD = "INSERT INTO folded VALUES (?, ?, ?, ?, ?, ?, ?)"
_SAME_NOTE = """
DELETE FROM folded
WHERE channel = ? AND key = ? AND kind = 'note' AND name = ? AND "offset" < ?
"""
_OLD_NOTES = """
DELETE FROM folded WHERE channel = ?1 AND key = ?2 AND kind = 'note' AND "offset" <= (
    SELECT "offset" FROM folded WHERE channel = ?1 AND key = ?2 AND kind = 'note'
    ORDER BY "offset" DESC LIMIT 1 OFFSET ?3)
"""
_EVICTED = """
SELECT key, size + kept_bytes + content_bytes FROM latest WHERE channel = ? ORDER BY touched, last
"""


class Key:
    """Row of a key: its owner, and the places and sizes of its events.

    Args:
        owner: the owner and the amount of the content.

    """

    __slots__ = ("base", "end", "frame", "kept_bytes", "owner", "part_head", "size")

    def __init__(self, owner: KeyOwner) -> None:
        self.owner = owner
        self.base = 0
        """Offset of the base; 0 without one."""
        self.end = 0
        """Offset of the end; 0 without one."""
        self.size = 0
        """Data of the base, in bytes."""
        self.kept_bytes = 0
        """Data of the notes and the end, in bytes."""
        self.part_head: bytes | None = None
        self.frame: bytes | None = None
        """New base, which the file has not."""

    @property
    def last(self) -> int:
        """Offset of the last event but a part."""
        return max(self.base, self.end, self.owner.noted)

    @property
    def bytes(self) -> int:
        """Data of all events."""
        return self.size + self.kept_bytes + self.owner.content_bytes

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> "Key":
        """Return the key of a row."""
        (_, base, size, kept, content, is_trimmed, attempt, ended, is_lapsed, *rest) = row
        lease, expires, noted, touched, will_event, will_body, part_head = rest
        owner = KeyOwner(touched_at=touched)
        owner.attempt, owner.content_bytes, owner.is_trimmed = attempt, content, bool(is_trimmed)
        owner.has_end, owner.is_lapsed = bool(ended), bool(is_lapsed)
        owner.lease, owner.expires, owner.noted = lease, expires, noted
        owner.will = None if will_event is None else Will(will_event, will_body)
        key = cls(owner)
        key.base, key.end, key.size, key.kept_bytes = base, ended, size, kept
        key.part_head = part_head
        return key

    def to_row(self) -> tuple[Any, ...]:
        """Return the row, with the new base."""
        owner = self.owner
        will = (owner.will.event, owner.will.body) if owner.will else (None, None)
        sizes = (self.size, self.kept_bytes, owner.content_bytes, int(owner.is_trimmed))
        end = (owner.attempt, self.end, int(owner.is_lapsed))
        lease = (owner.lease, owner.expires, owner.noted, owner.touched_at)
        return (self.last, self.base, *sizes, *end, *lease, *will, self.part_head, self.frame)


class Keys:
    """Keys of one channel, read on first use and written by `flush`.

    Args:
        connection: the connection with the transaction.
        channel: the row of the channel, whose counts are kept.

    """

    def __init__(self, connection: sqlite3.Connection, channel: Channel) -> None:
        self._execute = connection.execute
        self._connection = connection
        self._channel = channel
        self._keys: dict[str, Key | None] = {}
        self._changed: dict[str, Key] = {}

    def refusal(self, event: Event) -> Refusal | None:
        """Return the reason for which an event is refused; None if it is accepted."""
        assert event.key is not None
        key = self._get(event.key)
        return refusal(key.owner if key else None, event, exists=key is not None)

    def noted(self, name: str | None) -> int:
        """Return the offset of the key's newest note; 0 if there is none."""
        key = None if name is None else self._get(name)
        return key.owner.noted if key else 0

    def store(self, event: Event, frame: bytes, now: float, write: KeyWrite | None) -> None:
        """Store an accepted event, which has its position; `write` is all of its change."""
        name, channel = event.key, self._channel
        assert name is not None
        key = self._get(name)
        if key is None:
            key = self._keys[name] = Key(KeyOwner(touched_at=now))
            channel.key_count += 1
        before = key.bytes
        key.owner.fold(event, now, write)
        match event.fold:
            case None:
                self._replace(name, key, event, frame)
            case "append":
                self._append(name, key, event, frame)
            case "end" | "lapse":
                self._end(name, key, event, frame)
            case "note":
                self._note(name, key, event, frame)
        channel.key_bytes += key.bytes - before
        self._mark(name, key)

    def renew(self, name: str, attempt: str, now: float) -> Renewal:
        """Restart the lease of a key, if the attempt owns it."""
        key = self._get(name)
        if key is None:
            return Renewal("gone")
        renewal = key.owner.renew(attempt, now)
        if not renewal.refused:
            self._channel.renewed = int(now)
            self._mark(name, key)
        return renewal

    def due(self, now: float, first: Collection[str] = ()) -> list[str]:
        """Return the keys whose leases ran out: the given ones first, by expiry and key."""
        self.flush()
        rows = self._execute(
            "SELECT expires, key FROM latest WHERE channel = ? AND expires IS NOT NULL",
            (self._channel.number,),
        ).fetchall()
        running = [expires for expires, _ in rows if expires > now]
        self._channel.lease_at = min(running, default=None)
        due = sorted((name not in first, expires, name) for expires, name in rows if expires <= now)
        return [name for *_, name in due]

    def lapse_event(self, name: str, offset: int) -> Event:
        """Return the event by which the log ends the silent owner of a key."""
        key = self._get(name)
        assert key
        return key.owner.lapse_event(self._channel.channel, name, offset)

    def flush(self) -> None:
        """Write the changed keys, and evict the oldest ones beyond the limits."""
        number = self._channel.number
        rows = [(number, name, *key.to_row()) for name, key in self._changed.items()]
        self._connection.executemany(_UPSERT, rows)
        for key in self._changed.values():
            key.frame = None
        self._changed.clear()
        channel = self._channel
        if channel.key_count >= MAX_KEYS + MORE_KEYS or channel.key_bytes > MAX_KEY_BYTES:
            self._evict()

    def _get(self, name: str) -> Key | None:
        if name in self._keys:
            return self._keys[name]
        row = self._execute(_SELECT, (self._channel.number, name)).fetchone()
        key = self._keys[name] = Key.from_row(row) if row else None
        return key

    def _mark(self, name: str, key: Key) -> None:
        self._changed[name] = key
        expires, lease_at = key.owner.expires, self._channel.lease_at
        if expires is not None and (lease_at is None or expires < lease_at):
            self._channel.lease_at = expires

    def _replace(self, name: str, key: Key, event: Event, frame: bytes) -> None:
        if key.end or key.part_head is not None:
            self._delete(name, key, "kind <> 'note'")
        key.base, key.frame, key.size = offset_of(event), frame, len(event.body)
        key.end, key.part_head = 0, None

    def _append(self, name: str, key: Key, event: Event, frame: bytes) -> None:
        if key.end:
            self._delete(name, key, "kind = 'end'")
            key.end = 0
        if key.owner.is_trimmed:
            return
        key.part_head = frame[: frame.index(DATA) + len(DATA)]
        items = items_of(event.body)
        self._insert(name, event, "part", items)

    def _end(self, name: str, key: Key, event: Event, frame: bytes) -> None:
        kinds = "kind = 'end'" if key.owner.is_lapsed else "kind <> 'part'"
        self._delete(name, key, kinds)
        self._insert(name, event, "end", frame)
        key.end = offset_of(event)
        key.kept_bytes += len(event.body)

    def _note(self, name: str, key: Key, event: Event, frame: bytes) -> None:
        self._insert(name, event, "note", frame)
        place = (self._channel.number, name)
        self._execute(_SAME_NOTE, (*place, event.event, offset_of(event)))
        self._execute(_OLD_NOTES, (*place, MAX_NOTES))
        self._count_kept(name, key)

    def _insert(self, name: str, event: Event, kind: str, frame: bytes) -> None:
        place = (self._channel.number, name, offset_of(event))
        self._execute(_FOLD, (*place, kind, event.event, len(event.body), frame))

    def _delete(self, name: str, key: Key, kinds: str) -> None:
        self._execute(
            f"DELETE FROM folded WHERE channel = ? AND key = ? AND {kinds}",  # noqa: S608 -- constants
            (self._channel.number, name),
        )
        self._count_kept(name, key)

    def _count_kept(self, name: str, key: Key) -> None:
        (key.kept_bytes,) = self._execute(
            "SELECT coalesce(sum(size), 0) FROM folded "
            "WHERE channel = ? AND key = ? AND kind <> 'part'",
            (self._channel.number, name),
        ).fetchone()

    def _evict(self) -> None:
        channel = self._channel
        evicted = []
        for name, size in self._rows_to_evict():
            if channel.key_count <= MAX_KEYS and (
                channel.key_bytes <= MAX_KEY_BYTES or channel.key_count == 1
            ):
                break
            evicted.append((channel.number, name))
            channel.key_count -= 1
            channel.key_bytes -= size
            self._keys[name] = None
        for table in ("latest", "folded"):
            self._connection.executemany(
                f"DELETE FROM {table} WHERE channel = ? AND key = ?",  # noqa: S608 -- a constant
                evicted,
            )

    def _rows_to_evict(self) -> Iterator[tuple[str, int]]:
        yield from self._execute(_EVICTED, (self._channel.number,)).fetchall()
