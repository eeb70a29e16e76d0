"""Listener on the file: a bell wakes it, and it reads the events of newer commits."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from sqlite3 import Connection

from realtime_bridge.backend.reconnecting import ReconnectingListener
from realtime_bridge.backend.unreadable import UNREADABLE, UnreadableEvents
from realtime_bridge.errors import BackendUnavailableError, PublishError
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge_backends.sqlite.bells import Bell
from realtime_bridge_backends.sqlite.database import reading
from realtime_bridge_backends.sqlite.errors import to_publish_error
from realtime_bridge_backends.sqlite.queries import event_at
from realtime_bridge_backends.sqlite.session import Session

_logger = logging.getLogger("realtime_bridge.backend")

READ_EVENTS = 500
"""The most events of one channel in one read."""

READ_BYTES = 2 * 1024 * 1024
"""Bytes of data at which a read ends, and another one follows."""

_CHANGED = """
SELECT number, channel, epoch, top, (repeated_at > ?1) * repeated FROM channels
WHERE changed > ?1
"""
_NAMED = "SELECT number, channel, epoch, top, 0 FROM channels WHERE channel = ?"
_EVENTS = """
SELECT "offset", size, frame FROM events WHERE channel = ? AND "offset" > ?
ORDER BY "offset" LIMIT ?
"""
_EVENT = 'SELECT "offset", frame FROM events WHERE channel = ? AND "offset" = ?'

_Change = tuple[int, str, str, int, int]
"""Number of a channel, its name, epoch and top, and the event that was sent again."""


class SQLiteListener(ReconnectingListener):
    """Listener on committed events.

    Args:
        path: the file.
        open_session: returns this process's session.
        open_channels: gives epochs to channels without one.
        unreadable: counts the events that cannot be read.
        poll_seconds: longest time between two reads.

    """

    def __init__(
        self,
        path: Path,
        *,
        open_session: Callable[[], Awaitable[Session]],
        open_channels: Callable[[Iterable[str]], Awaitable[object]],
        unreadable: UnreadableEvents,
        poll_seconds: float,
    ) -> None:
        super().__init__()
        self._path = path
        self._open_session = open_session
        self._open_channels = open_channels
        self._unreadable = unreadable
        self._poll_seconds = poll_seconds
        # The thread that reads owns these: so no append falls between a subscription and a read.
        self._known: dict[str, tuple[str, int]] = {}
        """Epoch and offset of the last event that was read, by channel."""
        self._unfinished: dict[str, None] = {}
        """Channels with more events than the last read took."""
        self._seen = 0
        """Commit up to which changes were read."""

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Listen to channels from their current tops on."""
        session = await self._open_session()
        missing = await session.read(partial(self._note_tops, list(channels)))
        if missing:
            await self._open_channels(missing)
            await session.read(partial(self._note_tops, missing))

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Stop listening to channels."""
        session = await self._open_session()
        await session.read(partial(self._forget, list(channels)))

    async def _listen_until_lost(self) -> None:
        session = await self._open_session()
        with Bell(self._path, self._receive) as bell:
            await session.read(self._resume)
            self._on_connected()
            while True:
                if not self._unfinished:
                    await bell.wait(self._poll_seconds)
                if session.is_over:
                    raise BackendUnavailableError(f"{self._path} is opened again")
                events, unreadable = await session.read(self._read)
                self._queue.put([event for event in events if event.channel in self._known])
                for channel in unreadable:
                    self._queue.mark_channel_gap(channel)

    def _receive(self, message: bytes) -> None:
        """Pass on an event of no log, if its channel is subscribed."""
        try:
            event = EphemeralEvent.decode(message)
        except ValueError as error:
            _logger.warning("message that cannot be read: path=%s error=%r", self._path, str(error))
            return
        if event.channel in self._known:
            self.on_ephemeral(event)

    def _to_publish_error(self, error: Exception) -> PublishError:
        return to_publish_error(error, f"the feed of {self._path}")

    def _note_tops(self, names: Sequence[str], connection: Connection) -> list[str]:
        """Note the tops of channels, and return those without an epoch."""
        missing = []
        with reading(connection):
            for name in names:
                if name in self._known:
                    continue
                row = connection.execute(_NAMED, (name,)).fetchone()
                if row:
                    self._known[name] = row[2], row[3]
                else:
                    missing.append(name)
        return missing

    def _forget(self, names: Sequence[str], _: Connection) -> None:
        for name in names:
            self._known.pop(name, None)
            self._unfinished.pop(name, None)

    def _resume(self, connection: Connection) -> None:
        """Go on from the present: the gap before it is reported."""
        with reading(connection):
            self._seen = _commits(connection)
            self._unfinished.clear()
            for name in self._known:
                row = connection.execute(_NAMED, (name,)).fetchone()
                self._known[name] = (row[2], row[3]) if row else ("", 0)

    def _read(self, connection: Connection) -> tuple[list[Event], list[str]]:
        """Return the new events, and the channels with unreadable ones."""
        events: list[Event] = []
        unreadable: list[str] = []
        # One state of the file: with a later number of commits, changes in between would be lost.
        with reading(connection):
            commits = _commits(connection)
            changes: list[_Change] = []
            if commits != self._seen:
                changes = connection.execute(_CHANGED, (self._seen,)).fetchall()
            changed = {change[1] for change in changes}
            for name in self._unfinished.keys() - changed:
                changes += connection.execute(_NAMED, (name,)).fetchall()
            for change in changes:
                if change[1] in self._known:
                    for row in self._rows(connection, change):
                        try:
                            events.append(event_at(change[2], *row))
                        except UNREADABLE as error:
                            self._unreadable.skip(change[1], error)
                            unreadable.append(change[1])
            self._seen = commits
        return events, unreadable

    def _rows(self, connection: Connection, change: _Change) -> list[tuple[int, bytes]]:
        """Return the offsets and frames of a channel's new events, and of a repeated one."""
        number, name, epoch, top, repeated = change
        known_epoch, after = self._known[name]
        if known_epoch != epoch:  # a new epoch starts at offset 1
            after = 0
        rows: list[tuple[int, bytes]] = []
        again = connection.execute(_EVENT, (number, repeated)).fetchall() if repeated else []
        if again and repeated <= after:
            rows += again
        last, size = after, 0
        for offset, length, frame in connection.execute(_EVENTS, (number, after, READ_EVENTS)):
            rows.append((offset, frame))
            last, size = offset, size + length
            if size > READ_BYTES:
                break
        else:
            if len(rows) < READ_EVENTS:
                last = top
        if again and repeated > after:
            rows += again  # it was sent twice since the last read
        self._known[name] = epoch, last
        if last < top:
            self._unfinished[name] = None
        else:
            self._unfinished.pop(name, None)
        return rows


def _commits(connection: Connection) -> int:
    ((commits,),) = connection.execute("SELECT commits FROM settings")
    return int(commits)
