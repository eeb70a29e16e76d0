"""Transaction that writes: appends, epochs, leases and lapses."""

import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence

from msgspec.structs import replace

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import UNUSED_SECONDS
from realtime_bridge.protocol.wire.messages import encode_event
from realtime_bridge_backends.sqlite import channels, expiry
from realtime_bridge_backends.sqlite.channels import Channel
from realtime_bridge_backends.sqlite.database import PAGE_BYTES
from realtime_bridge_backends.sqlite.keys import Keys
from realtime_bridge_backends.sqlite.rotation import rotate

_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?)"
_ID = "INSERT INTO ids VALUES (?, ?, ?, ?)"
_KNOWN = 'SELECT "offset" FROM ids WHERE channel = ? AND id = ?'

COMMIT_BYTES, EVENT_BYTES = 6 * PAGE_BYTES, 400
"""Bytes that a transaction writes, and those of an event beside its data: measured."""

TOUCH_SECONDS = UNUSED_SECONDS / 4
"""Age at which the use of an epoch without an event is noted again."""

MANY_IDS = 8
"""Ids from which one query for all of them is cheaper than a query for each."""

ID_SLOTS = (32, 128, 512)
"""Lengths of such queries: a few, so that SQLite has compiled them."""


class Transaction:
    """Changes of one transaction, which has the write lock.

    Args:
        connection: the connection with the transaction.
        retention: the history that a channel keeps.
        commits: the number of this transaction.
        repeatable: the appended events whose ids are looked for. The write of another event whose
            id is stored raises `sqlite3.IntegrityError`.

    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        retention: Retention,
        commits: int,
        repeatable: Sequence[Event],
    ) -> None:
        self._connection = connection
        self._retention = retention
        self._commits = commits
        self._now = time.time()
        self._time = int(self._now * 1_000)
        self._channels: dict[str, Channel] = {}
        self._keys: dict[str, Keys] = {}
        self._changed: dict[str, Channel] = {}
        self._former: dict[int, channels.Slow] = {}
        self._tops: dict[int, Position] = {}
        self._events: list[tuple[object, ...]] = []
        self._ids: list[tuple[object, ...]] = []
        # Of all appends in one query: one for each event would cost as much as its insert.
        self._known = self._known_offsets(repeatable)
        self.written_bytes: int = COMMIT_BYTES
        """About the bytes of this transaction in the write-ahead log."""

    @property
    def has_news(self) -> bool:
        """True if listeners have something to read."""
        return any(channel.changed == self._commits for channel in self._changed.values())

    def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append events, then end the owners of their channels that are silent."""
        receipts = []
        due: dict[int, Channel] = {}
        for event in events:
            channel = self._channels.get(event.channel) or self._channel(event.channel)
            offset = self._known.get((channel.number, event.id))
            receipts.append(
                self._repeat(channel, event, offset) if offset else self._append(channel, event)
            )
            if channel.lease_at is not None:
                due[channel.number] = channel
        for channel in due.values():
            self._lapse(channel)
        return receipts

    def open(self, names: Iterable[str]) -> dict[str, Position]:
        """Return the tops of channels, each with an epoch and without silent owners."""
        positions = {}
        for name in names:
            channel = self._channel(name)
            if not channel.top and channel.touched < self._now - TOUCH_SECONDS:
                channel.touched = int(self._now)
                self._changed[name] = channel
            self._lapse(channel)
            positions[name] = channel.position
        return positions

    def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart leases, after the end of the owners that are silent."""
        first: dict[str, list[str]] = {}
        for lease in leases:
            first.setdefault(lease.channel, []).append(lease.key)
        for name, keys in first.items():
            self._lapse(self._channel(name), keys)
        renewals = []
        for lease in leases:
            channel = self._channels[lease.channel]
            renewals.append(self._keys_of(channel).renew(lease.key, lease.attempt, self._now))
            self._changed[channel.channel] = channel
        return renewals

    def rotate_epoch(self, name: str, expected_epoch: str) -> Position:
        """Begin a new epoch if the channel's is the expected one, and return the top."""
        channel = self._channel(name)
        if channel.epoch == expected_epoch:
            self.flush()
            self._forget_ids(channel.number)
            rotate(self._connection, channel, self._now)
            channel.changed = self._commits
            self._changed[name] = channel
        return channel.position

    def expire_channels(self) -> bool:
        """Delete a little of what is over, and return whether there is more."""
        due = expiry.names_of_due_channels(self._connection, self._retention, self._now)
        self.open(due)
        expired = expiry.drop_expired(self._connection, self._now)
        return bool(due or expired)

    def generation(self, configuration: str) -> int:
        """Return the generation of a configuration; it is at least the Unix time."""
        ((known, generation),) = self._connection.execute(
            "SELECT configuration, generation FROM settings"
        ).fetchall()
        if known != configuration:
            generation = max(int(self._now), generation + 1)
            self._connection.execute(
                "UPDATE settings SET configuration = ?, generation = ?",
                (configuration, generation),
            )
        return int(generation)

    def flush(self) -> None:
        """Write all changes."""
        self._connection.executemany(_EVENT, self._events)
        self._connection.executemany(_ID, self._ids)
        self._events.clear()
        self._ids.clear()
        for keys in self._keys.values():
            keys.flush()
        for channel in self._changed.values():
            expiry.trim(self._connection, channel, self._retention, self._now)
            channels.store(self._connection, channel, self._former.get(channel.number))
            self._former[channel.number] = channels.slow_columns(channel)
        self._keys.clear()
        self._tops.clear()

    def _channel(self, name: str) -> Channel:
        channel = self._channels.get(name)
        if channel is None:
            channel = channels.load(self._connection, name)
            if channel is None:
                channel = channels.begin(self._connection, name, self._now)
            self._former[channel.number] = channels.slow_columns(channel)
            if expiry.expire(self._connection, channel, self._retention, self._now):
                self._changed[name] = channel
            self._channels[name] = channel
        return channel

    def _keys_of(self, channel: Channel) -> Keys:
        keys = self._keys.get(channel.channel)
        if keys is None:
            keys = self._keys[channel.channel] = Keys(self._connection, channel)
        return keys

    def _known_offsets(self, events: Sequence[Event]) -> dict[tuple[int, str], int]:
        """Return the offsets of the events that are stored."""
        by_channel: dict[int, list[str]] = {}
        for event in events:
            by_channel.setdefault(self._channel(event.channel).number, []).append(event.id)
        known = {}
        for number, names in by_channel.items():
            if len(names) < MANY_IDS:
                for name in names:
                    row = self._connection.execute(_KNOWN, (number, name)).fetchone()
                    if row:
                        known[number, name] = row[0]
            else:
                slots = next(slots for slots in ID_SLOTS if slots >= len(names))
                marks = ",".join("?" * slots)
                query = f'SELECT id, "offset" FROM ids WHERE channel = ? AND id IN ({marks})'  # noqa: S608 -- marks alone
                padding = [None] * (slots - len(names))
                for name, offset in self._connection.execute(query, (number, *names, *padding)):
                    known[number, name] = offset
        return known

    def _forget_ids(self, number: int) -> None:
        """Forget the ids of a channel: its new epoch knows none."""
        self._known = {place: known for place, known in self._known.items() if place[0] != number}

    def _repeat(self, channel: Channel, event: Event, offset: int) -> Receipt:
        if offset >= channel.first:
            channel.repeated, channel.repeated_at = offset, self._commits
            channel.changed = self._commits
            self._changed[channel.channel] = channel
        noted = 0 if event.key is None else self._keys_of(channel).noted(event.key)
        position = Position(channel.epoch, offset, event.id)
        return Receipt(id=event.id, position=position, duplicate=True, noted=noted)

    def _append(self, channel: Channel, event: Event) -> Receipt:
        if event.key is None:
            stored = self._store(channel, event)
            return Receipt(id=event.id, position=stored.position)
        keys = self._keys_of(channel)
        refused = keys.refusal(event)
        position = None if refused else self._store(channel, event).position
        noted = keys.noted(event.key)
        return Receipt(id=event.id, position=position, refused=refused, noted=noted)

    def _store(self, channel: Channel, event: Event) -> Event:
        """Store an event at the next offset, and return it with its position and time."""
        number = channel.number
        position = self._tops[number] = (self._tops.get(number) or channel.position).next(event.id)
        offset = position.offset
        stored = event.with_position(position, self._time)
        if event.write is not None:
            stored = replace(stored, write=event.write.delivered)
        frame = encode_event(stored)
        size = len(event.body)
        channel.top, channel.top_id = offset, event.id
        channel.bytes += size
        self.written_bytes += size + EVENT_BYTES
        channel.touched, channel.changed = int(self._now), self._commits
        self._changed[channel.channel] = channel
        self._known[number, event.id] = offset
        self._events.append((number, offset, event.id, size, frame))
        self._ids.append((number, event.id, offset, int(self._now)))
        if event.key is not None:
            self._keys_of(channel).store(stored, frame, self._now, event.write)
        return stored

    def _lapse(self, channel: Channel, first: Collection[str] = ()) -> None:
        """End the keys whose owners were silent for longer than their leases."""
        if not channel.is_due(self._now):
            return
        self._changed[channel.channel] = channel
        keys = self._keys_of(channel)
        for name in keys.due(self._now, first):
            self._store(channel, keys.lapse_event(name, channel.top + 1))
