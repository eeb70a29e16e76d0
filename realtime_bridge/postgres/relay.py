"""Relay from the outbox in PostgreSQL to the configured backend."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import AsyncCursor
from psycopg.sql import SQL, Composed, Identifier

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import TransactionalLog
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.push import Backend
from realtime_bridge.backend.unreadable import UNREADABLE, UnreadableEvents
from realtime_bridge.errors import (
    BackendUnavailableError,
    ConfigurationError,
    PublishError,
    RealtimeError,
)
from realtime_bridge.model.event import Event
from realtime_bridge.postgres.address import parse_address, server_name
from realtime_bridge.postgres.connection import Connection, connect
from realtime_bridge.postgres.errors import to_database_error
from realtime_bridge.postgres.relay_timing import RelayTiming
from realtime_bridge.postgres.rows import COLUMNS, event_from_row
from realtime_bridge.protocol import backoff
from realtime_bridge.publishing.broadcaster import Broadcaster

BATCH_EVENTS = 500
"""Events of one read: the most that one publish takes."""

_KEEPALIVE = "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=2"
"""PostgreSQL closes the session of an unreachable relay, and so frees its lock, after 4 s."""

# The comparison of (channel, offset) is keyset pagination: a stuck channel is read once a round.
_QUEUED = f"""
SELECT {COLUMNS}
FROM {{schema}}.relay_queue q JOIN {{schema}}.events e USING (channel, "offset")
WHERE (q.channel, q."offset") > (%s, %s) AND q.channel <> ALL(%s)
ORDER BY q.channel, q."offset" LIMIT %s
"""  # noqa: S608 -- constant columns
_DELETE_RELAYED = """
DELETE FROM {schema}.relay_queue q USING unnest(%s::text[], %s::bigint[]) AS r (channel, "offset")
WHERE q.channel = r.channel AND q."offset" = r."offset"
"""

_ENABLE = "UPDATE {schema}.settings SET relay_enabled = true"
_DISABLE = """
WITH disabled AS (UPDATE {schema}.settings SET relay_enabled = false)
DELETE FROM {schema}.relay_queue
"""

_logger = logging.getLogger("realtime_bridge.relay")


RelayState = Literal["standby", "active"]
Place = tuple[str, int]
"""Channel and offset of a row."""


def discard_pending(connection: psycopg.Connection, prefix: str) -> int:
    """Disable the relay, empty its queue, and return the number of discarded events."""
    return connection.execute(SQL(_DISABLE).format(schema=Identifier(prefix))).rowcount


class Relay:
    """Relays each event at least once, in the order of its channel; of several relays, one works.

    An event that the backend rejects for good is dropped with an error in the log of the process.

    Args:
        url: the database's address.
        prefix: the schema of the log.
        target: an entered broadcaster. A log in the same database needs a delivery backend.
        on_change: called with the new state of this relay.
        timing: waiting times.

    Raises:
        ConfigurationError: the target's servers receive the database's events without a relay.

    """

    def __init__(
        self,
        url: str,
        prefix: str,
        target: Broadcaster,
        *,
        on_change: Callable[[RelayState], None] = lambda _: None,
        timing: RelayTiming | None = None,
    ) -> None:
        self._backend = target.backend if isinstance(target.log, TransactionalLog) else None
        if isinstance(target.log, TransactionalLog) and self._backend is None:
            raise ConfigurationError(
                "No relay is needed: servers listen to PostgreSQL's log directly. Use it with "
                "REALTIME_BACKEND=redis, pusher or ably, or with a log in the server's memory"
            )
        self._url = parse_address(url)
        self._prefix = prefix
        self._target = target
        self._on_change = on_change
        self._timing = timing or RelayTiming()
        self._outage = OutageLog(
            _logger, "database connection lost, reconnecting", "relay works again"
        )
        self._push_outage = OutageLog(
            _logger, "channels wait for retry", "all channels are relayed"
        )
        self._unreadable = UnreadableEvents(server_name(url))
        self.dropped_events: int = 0
        """Events that the backend rejected for good, or that cannot be read."""

    async def run(self) -> None:
        """Relay until cancelled; reconnect when the database is unreachable.

        Raises:
            DatabaseError: the log is not installed, or this user may not read it.

        """
        attempt = 0
        while True:
            try:
                async with await self._connect() as connection:
                    await self._stand_by(connection)
                    attempt = 0
                    self._outage.works()
                    await self._relay(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                # The lines after the first may hold values of rows.
                self._outage.failed(str(error).strip().partition("\n")[0])
            except psycopg.Error as error:
                raise to_database_error(error, self._url) from error
            except Exception as error:  # uvloop's RuntimeError of a reset among them
                self._outage.failed(error)
            await asyncio.sleep(backoff.delay(attempt, random.random(), base=0.5, cap=5))  # noqa: S311
            attempt += 1

    async def _connect(self) -> Connection:
        async with self._deadline():
            return await connect(self._url, options=_KEEPALIVE)

    def _deadline(self) -> asyncio.Timeout:
        """Return the limit of one answer; after it the connection is closed without waiting."""
        return asyncio.timeout(self._timing.answer_seconds)

    async def _execute(
        self,
        connection: Connection,
        query: Composed | LiteralString,
        values: Sequence[Any] | None = None,
    ) -> AsyncCursor[Any]:
        async with self._deadline():
            return await connection.execute(query, values)

    async def _stand_by(self, connection: Connection) -> None:
        """Wait until no other relay is active."""
        self._on_change("standby")
        while True:
            if await self._lock(connection):
                break
            await asyncio.sleep(self._timing.standby_seconds)
        await self._execute(connection, self._sql(_ENABLE))
        # LISTEN before the first read: an event committed between the two sends a notification.
        await self._execute(connection, self._sql("LISTEN {schema}"))
        self._on_change("active")

    async def _lock(self, connection: Connection) -> bool:
        # A session lock: PostgreSQL frees it when the connection ends, however that happens.
        query = "SELECT pg_try_advisory_lock(hashtext(%s), hashtext('relay'))"
        row = await (await self._execute(connection, query, [self._prefix])).fetchone()
        return bool(row and row[0])

    async def _relay(self, connection: Connection) -> None:
        while True:
            if not await self._relay_queue(connection):
                async for _ in connection.notifies(timeout=self._timing.idle_seconds, stop_after=1):
                    pass

    async def _relay_queue(self, connection: Connection) -> bool:
        """Relay the queue, channel after channel; return whether to read it again at once."""
        last, stuck, any_relayed = ("", 0), set[str](), False
        while rows := await self._read_queue(connection, last, stuck):
            last = _place(rows[-1])
            events, dropped, failed_channels = await self._read_events(rows)
            stuck |= failed_channels
            relayed, failed_channels = await self._push_batch(events)
            stuck |= failed_channels
            places = [(event.channel, event.position.offset) for event in relayed if event.position]
            any_relayed |= bool(places or dropped)
            await self._delete_relayed(connection, places + dropped)
        if not stuck:
            self._push_outage.works()
        else:
            await asyncio.sleep(self._timing.standby_seconds)
        return any_relayed or bool(stuck)

    async def _read_queue(
        self, connection: Connection, last: tuple[str, int], stuck: set[str]
    ) -> list[Sequence[Any]]:
        values = [*last, list(stuck), BATCH_EVENTS]
        cursor = await self._execute(connection, self._sql(_QUEUED), values)
        return await cursor.fetchall()

    async def _read_events(
        self, rows: Sequence[Sequence[Any]]
    ) -> tuple[list[Event], list[Place], set[str]]:
        """Return the events of rows, the places of unreadable rows, and channels to retry."""
        events: list[Event] = []
        dropped: list[Place] = []
        stuck: set[str] = set()
        for row in rows:
            channel, offset = _place(row)
            try:
                events.append(event_from_row(row))
            except UNREADABLE as error:
                self._unreadable.skip(channel, error)
                if await self._reset_target(channel):
                    self.dropped_events += 1
                    dropped.append((channel, offset))
                else:
                    stuck.add(channel)
        return events, dropped, stuck

    async def _reset_target(self, channel: str) -> bool:
        """Reset the clients of a channel of which an event is skipped; return False to retry."""
        log = self._target.log
        if log is None or isinstance(log, TransactionalLog):
            # Clients find the gap themselves: this database's log answers them with a reset.
            return True
        try:
            top = (await backend_call(log, log.positions, [channel]))[channel]
            await backend_call(log, log.rotate_epoch, channel, top.epoch)
        except RealtimeError as error:
            self._push_outage.failed(error, channel=channel)
            return False
        return True

    async def _push_batch(self, events: Sequence[Event]) -> tuple[list[Event], set[str]]:
        """Push events together, or one by one if that fails.

        Return the events to delete from the queue, and the channels to retry later.
        """
        try:
            if events:
                await self._push(events)
        except RealtimeError:
            return await self._push_one_by_one(events)
        return list(events), set()

    async def _push_one_by_one(self, events: Sequence[Event]) -> tuple[list[Event], set[str]]:
        finished: list[Event] = []
        stuck: set[str] = set()
        for event in events:
            if event.channel in stuck:  # a later event must not overtake the failed one
                continue
            try:
                await self._push([event])
            except RealtimeError as error:
                if isinstance(error, PublishError) and error.retryable:
                    self._push_outage.failed(error, channel=event.channel)
                    stuck.add(event.channel)
                    continue
                self.dropped_events += 1
                _logger.error(  # noqa: TRY400 -- a rejection, no bug: without a traceback
                    "event dropped: channel=%s event=%s error=%s", event.channel, event.event, error
                )
            finished.append(event)
        return finished, stuck

    async def _push(self, events: Sequence[Event]) -> None:
        if not isinstance(self._backend, Backend):
            await self._target.publish_many(events)  # it has a limit of its own
            return
        try:
            async with asyncio.timeout(self._timing.push_seconds):
                await backend_call(self._backend, self._backend.push, events)
        except TimeoutError as error:
            raise BackendUnavailableError(
                f"{self._backend} did not answer within {self._timing.push_seconds:g} s: check "
                "that it can be reached"
            ) from error

    async def _delete_relayed(self, connection: Connection, places: Sequence[Place]) -> None:
        if places:
            columns = [list(column) for column in zip(*places, strict=True)]
            await self._execute(connection, self._sql(_DELETE_RELAYED), columns)

    def _sql(self, text: str) -> Composed:
        return SQL(text).format(schema=Identifier(self._prefix))


def _place(row: Sequence[Any]) -> Place:
    """Return the place of a row with `COLUMNS`."""
    channel, _, offset, *_ = row
    return channel, offset
