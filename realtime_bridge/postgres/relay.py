"""Relay from the outbox in PostgreSQL to the configured backend."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Identifier

from realtime_bridge.backend.log import TransactionalLog
from realtime_bridge.backend.push import Backend
from realtime_bridge.errors import ConfigurationError, PublishError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.postgres.errors import to_database_error
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

_DISABLE = """
WITH disabled AS (UPDATE {schema}.settings SET relay_enabled = false)
DELETE FROM {schema}.relay_queue
"""

_logger = logging.getLogger("realtime_bridge.relay")


RelayState = Literal["standby", "active"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayTiming:
    """Waiting times of a relay, in seconds.

    Args:
        standby_seconds: between two tries to become active, and before a stuck channel's retry.
        idle_seconds: the longest wait for a notification; then the relay reads without one.

    """

    standby_seconds: float = 1.0
    idle_seconds: float = 5.0


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
        self._url = url
        self._prefix = prefix
        self._target = target
        self._on_change = on_change
        self._timing = timing or RelayTiming()
        self.dropped_events: int = 0
        """Events that the backend rejected for good."""

    async def run(self) -> None:
        """Relay until cancelled; reconnect when the database is unreachable.

        Raises:
            DatabaseError: the log is not installed, or this user may not read it.

        """
        attempt = 0
        while True:
            try:
                async with await AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=2, options=_KEEPALIVE
                ) as connection:
                    await self._stand_by(connection)
                    attempt = 0
                    await self._relay(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
                message = str(error).strip().partition("\n")[0]
                _logger.warning("database connection lost, reconnecting: error=%r", message)
            except psycopg.Error as error:
                raise to_database_error(error, self._url) from error
            await asyncio.sleep(backoff.delay(attempt, random.random(), base=0.5, cap=5))  # noqa: S311
            attempt += 1

    async def _stand_by(self, connection: AsyncConnection[Any]) -> None:
        """Wait until no other relay is active."""
        self._on_change("standby")
        while True:
            if await self._lock(connection):
                break
            await asyncio.sleep(self._timing.standby_seconds)
        await connection.execute(self._sql("UPDATE {schema}.settings SET relay_enabled = true"))
        # LISTEN before the first read: an event committed between the two sends a notification.
        await connection.execute(self._sql("LISTEN {schema}"))
        self._on_change("active")

    async def _lock(self, connection: AsyncConnection[Any]) -> bool:
        # A session lock: PostgreSQL frees it when the connection ends, however that happens.
        query = "SELECT pg_try_advisory_lock(hashtext(%s), hashtext('relay'))"
        row = await (await connection.execute(query, [self._prefix])).fetchone()
        return bool(row and row[0])

    async def _relay(self, connection: AsyncConnection[Any]) -> None:
        while True:
            if not await self._relay_queue(connection):
                async for _ in connection.notifies(timeout=self._timing.idle_seconds, stop_after=1):
                    pass

    async def _relay_queue(self, connection: AsyncConnection[Any]) -> bool:
        """Relay the queue, channel after channel; return whether to read it again at once."""
        last, stuck, any_relayed = ("", 0), set[str](), False
        while events := await self._read_queue(connection, last, stuck):
            assert events[-1].position
            last = events[-1].channel, events[-1].position.offset
            relayed, failed_channels = await self._push_batch(events)
            stuck |= failed_channels
            any_relayed |= bool(relayed)
            await self._delete_relayed(connection, relayed)
        if stuck:
            await asyncio.sleep(self._timing.standby_seconds)
        return any_relayed or bool(stuck)

    async def _read_queue(
        self, connection: AsyncConnection[Any], last: tuple[str, int], stuck: set[str]
    ) -> list[Event]:
        values = [*last, list(stuck), BATCH_EVENTS]
        cursor = await connection.execute(self._sql(_QUEUED), values)
        return [event_from_row(row) for row in await cursor.fetchall()]

    async def _push_batch(self, events: Sequence[Event]) -> tuple[list[Event], set[str]]:
        """Push events together, or one by one if that fails.

        Return the events to delete from the queue, and the channels to retry later.
        """
        try:
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
                    _logger.warning(
                        "channel waits for retry: channel=%s error=%s", event.channel, error
                    )
                    stuck.add(event.channel)
                    continue
                self.dropped_events += 1
                _logger.error(  # noqa: TRY400 -- a rejection, no bug: without a traceback
                    "event dropped: channel=%s event=%s error=%s", event.channel, event.event, error
                )
            finished.append(event)
        return finished, stuck

    async def _push(self, events: Sequence[Event]) -> None:
        if isinstance(self._backend, Backend):
            await self._backend.push(events)
        else:
            await self._target.publish_many(events)

    async def _delete_relayed(
        self, connection: AsyncConnection[Any], events: Sequence[Event]
    ) -> None:
        places = [(event.channel, event.position.offset) for event in events if event.position]
        if places:
            columns = [list(column) for column in zip(*places, strict=True)]
            await connection.execute(self._sql(_DELETE_RELAYED), columns)

    def _sql(self, text: str) -> Composed:
        return SQL(text).format(schema=Identifier(self._prefix))
