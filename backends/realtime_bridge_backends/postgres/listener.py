"""Feed of PostgreSQL: NOTIFY wakes a connection, which then reads the newly committed events."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from psycopg.sql import SQL, Identifier

from realtime_bridge.backend.reconnecting import ReconnectingListener
from realtime_bridge.backend.unreadable import UNREADABLE, UnreadableEvents
from realtime_bridge.errors import PublishError
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.postgres.connection import Connection, connect
from realtime_bridge.postgres.rows import event_from_row
from realtime_bridge_backends.postgres.errors import to_publish_error
from realtime_bridge_backends.postgres.notices import MessageReader
from realtime_bridge_backends.postgres.queries import SINCE
from realtime_bridge_backends.postgres.timing import PostgresTiming

_logger = logging.getLogger("realtime_bridge.backend")

EXPIRE_SECONDS, EXPIRE_CHANNELS = 60.0, 100
"""Interval in which each listener expires channels, and the most channels at once."""

READ_EVENTS = 500
"""The most events of one channel in one read."""

CHANGED = """
SELECT current::text, c.channel, c.epoch, c.top,
    CASE WHEN NOT pg_visible_in_snapshot(c.duplicate_by, previous)
        AND c.duplicate_by < pg_snapshot_xmax(current) THEN c.duplicate_offset END
FROM pg_current_snapshot() AS current
CROSS JOIN LATERAL coalesce(%s::pg_snapshot, current) AS previous
LEFT JOIN {}.channels c ON c.changed_by >= pg_snapshot_xmin(previous)
    AND c.changed_by < pg_snapshot_xmax(current)
"""
"""Channels that may have changed since a snapshot: those changed by a transaction that was not
finished in it. Commits become visible in any order, so a counter would miss some. An id beyond the
current snapshot comes from the server of a dump: without that limit it would always be new."""

TOPS = "SELECT NULL, channel, epoch, top, NULL::bigint FROM {}.channels WHERE channel = ANY(%s)"
SNAPSHOT = "SELECT pg_current_snapshot()::text"

APPLICATION_NAME = "realtime-bridge feed"
"""The connection's name in pg_stat_activity, for operators."""


class _Read(NamedTuple):
    """Events to read: those after an offset of a channel, and one that was sent again."""

    channel: str
    epoch: str
    after: int
    duplicate: int | None


class PostgresListener(ReconnectingListener):
    """Listener on committed events.

    Args:
        url: the database's address. A pooler in transaction mode does not work: it loses LISTEN.
        prefix: the schema, and the name of the notifications.
        positions: returns the tops of channels.
        server: the server's name, for messages.
        unreadable: counts the events that cannot be read.
        timing: time limits.

    """

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        positions: Callable[[Iterable[str]], Awaitable[dict[str, Position]]],
        server: str,
        unreadable: UnreadableEvents,
        timing: PostgresTiming,
    ) -> None:
        super().__init__()
        self._url = url
        self._prefix = prefix
        self._schema = Identifier(prefix)
        self._messages = MessageReader()
        self._positions = positions
        self._server = server
        self._unreadable = unreadable
        self._timing = timing
        self._known: dict[str, tuple[str, int]] = {}
        """Epoch and offset of the last event queued, by channel."""
        self._last_expiry = asyncio.get_running_loop().time()

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Listen to channels from their current tops on."""
        new = [channel for channel in channels if channel not in self._known]
        for channel, top in (await self._positions(new)).items():
            self._known[channel] = top.epoch, top.offset

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Stop listening to channels."""
        for channel in channels:
            self._known.pop(channel, None)

    async def _listen_until_lost(self) -> None:
        async with await self._open() as connection:
            # LISTEN, snapshot, read: in this order no commit falls between two of them.
            async with self._deadline():
                await connection.execute(SQL("LISTEN {}").format(self._schema))
            ((snapshot,),) = await self._execute(connection, SNAPSHOT, [])
            self._on_connected()
            await self._catch_up(connection)
            while True:
                snapshot = await self._wait_and_read(connection, snapshot)

    def _to_publish_error(self, error: Exception) -> PublishError:
        return to_publish_error(error, self._server)

    async def _open(self) -> Connection:
        async with self._deadline():
            return await connect(self._url, application_name=APPLICATION_NAME)

    def _deadline(self) -> asyncio.Timeout:
        """Return the limit of one answer; after it the connection is closed without waiting."""
        return asyncio.timeout(self._timing.answer_seconds)

    async def _wait_and_read(self, connection: Connection, snapshot: str) -> str:
        """Wait for a notification, read what was committed since, and return the new snapshot."""
        # The wait ends without an answer of the server: `_read_since` then finds a dead link.
        wait = self._timing.wake_seconds
        notices = [notice async for notice in connection.notifies(timeout=wait, stop_after=1)]
        messages = [notice.payload for notice in notices if notice.payload]
        for message in messages:
            self._receive(message)
        if not messages or len(messages) < len(notices):  # appends notify without a payload
            snapshot = await self._read_since(connection, snapshot)
        now = asyncio.get_running_loop().time()
        if now - self._last_expiry > EXPIRE_SECONDS:
            self._last_expiry = now
            await self._execute(connection, "SELECT {}.expire_channels(%s)", [EXPIRE_CHANNELS])
        return snapshot

    def _receive(self, payload: str) -> None:
        """Pass on the event of no log that a payload completes, if its channel is subscribed."""
        try:
            message = self._messages.read(payload)
            event = None if message is None else EphemeralEvent.decode(message)
        except ValueError as error:
            _logger.warning(
                "notification that cannot be read: prefix=%s error=%r", self._prefix, error
            )
            return
        if event and event.channel in self._known:
            self.on_ephemeral(event)

    async def _catch_up(self, connection: Connection) -> None:
        """Read the events that were committed while no connection listened."""
        rows = await self._execute(connection, TOPS, [list(self._known)])
        await self._read_changed(connection, rows)

    async def _read_since(self, connection: Connection, snapshot: str) -> str:
        """Read the events committed since a snapshot, and return the next snapshot."""
        rows = await self._execute(connection, CHANGED, [snapshot])
        await self._read_changed(connection, rows)
        return str(rows[0][0])

    async def _read_changed(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Read the new events of changed channels, page by page, and queue them."""
        reads = self._reads(rows)
        while reads:
            columns = [list(column) for column in zip(*reads, strict=True)]
            event_rows = await self._execute(connection, SINCE, [*columns, READ_EVENTS])
            events = list(self._events(event_rows))
            self._queue.put([*events, *_repeated(events, reads)])
            reads = self._unfinished(reads, event_rows)

    def _reads(self, rows: Sequence[tuple[Any, ...]]) -> list[_Read]:
        reads = []
        for _, channel, epoch, top, duplicate in rows:
            if channel not in self._known:
                continue
            known_epoch, after = self._known[channel]
            if known_epoch != epoch:  # a new epoch starts at offset 1
                after = 0
            if top > after or duplicate:
                reads.append(_Read(channel, epoch, after, duplicate))
            else:
                self._known[channel] = epoch, after
        return reads

    def _events(self, rows: Iterable[Sequence[Any]]) -> Iterator[Event]:
        """Yield the events of rows; one that cannot be read is a gap of its channel alone."""
        for row in rows:
            channel, epoch, offset = row[:3]
            if channel not in self._known:  # it was unsubscribed while the query ran
                continue
            self._move(channel, epoch, offset)
            try:
                yield event_from_row(row)
            except UNREADABLE as error:
                self._unreadable.skip(channel, error)
                self._queue.mark_channel_gap(channel)

    def _move(self, channel: str, epoch: str, offset: int) -> None:
        known_epoch, known_offset = self._known[channel]
        if epoch != known_epoch or offset > known_offset:
            self._known[channel] = epoch, offset

    def _unfinished(
        self, reads: Sequence[_Read], event_rows: Sequence[Sequence[Any]]
    ) -> list[_Read]:
        """Return the reads that filled a page: their channels may have more events."""
        counts: dict[str, int] = {}
        for row in event_rows:
            counts[row[0]] = counts.get(row[0], 0) + 1
        return [
            _Read(channel, epoch, self._known[channel][1], None)
            for channel, epoch, _, _ in reads
            if counts.get(channel, 0) >= READ_EVENTS and channel in self._known
        ]

    async def _execute(
        self, connection: Connection, query: str, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        statement = SQL(query).format(self._schema)
        async with self._deadline():
            return await (await connection.execute(statement, values)).fetchall()


def _repeated(events: Sequence[Event], reads: Sequence[_Read]) -> list[Event]:
    """Return the events that were sent again before this listener read them the first time.

    Each append announces once, so these events are queued twice.
    """
    repeated = {
        (read.channel, read.duplicate)
        for read in reads
        if read.duplicate and read.duplicate > read.after
    }
    return [
        event
        for event in events
        if event.position and (event.channel, event.position.offset) in repeated
    ]
