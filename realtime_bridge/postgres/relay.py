"""The relay: what triggers and transactions wrote is carried to whichever backend is configured."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Identifier

from realtime_bridge.backend.log import TransactionalLog
from realtime_bridge.backend.push import Backend
from realtime_bridge.errors import ConfigurationError, PublishError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.postgres.errors import refused
from realtime_bridge.postgres.rows import COLUMNS, event_of
from realtime_bridge.protocol import backoff
from realtime_bridge.publishing.broadcaster import Broadcaster

AT_ONCE = 500
"""Events of one round: as many as one publish takes."""

STANDBY_SECONDS = 1.0
"""How often a relay that waits looks whether the one that works is gone."""

IDLE_SECONDS = 5.0
"""The longest to wait for a wake-up before looking all the same."""

_PROBES = "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=2"
"""After 4 s PostgreSQL lets go of a relay whose machine is gone, and of its lock."""

_WAITING = f"""
SELECT {COLUMNS}
FROM {{schema}}.uncarried u JOIN {{schema}}.events e USING (channel, "offset")
WHERE (u.channel, u."offset") > (%s, %s) AND u.channel <> ALL(%s)
ORDER BY u.channel, u."offset" LIMIT %s
"""  # noqa: S608 -- columns of our own
_CARRIED = """
DELETE FROM {schema}.uncarried u USING unnest(%s::text[], %s::bigint[]) AS c (channel, "offset")
WHERE u.channel = c.channel AND u."offset" = c."offset"
"""

_ENDED = """
WITH ended AS (UPDATE {schema}.settings SET relayed = false)
DELETE FROM {schema}.uncarried
"""

_logger = logging.getLogger("realtime_bridge.relay")


State = Literal["waiting", "working"]


def end(connection: psycopg.Connection, prefix: str) -> int:
    """Let nothing wait for a relay any more, and return how many events did."""
    return connection.execute(SQL(_ENDED).format(schema=Identifier(prefix))).rowcount


class Relay:
    """Carries each event at least once, and in the order of its channel; of several, one works.

    An event that the backend will never take is given up, said so, and stops nobody else's.

    Args:
        url: the database's address.
        prefix: the schema of the log there.
        target: what carries on: entered, and not in the same database unless it has a backend.
        on_change: called when this relay begins to work, or to wait.

    Raises:
        ConfigurationError: the target hears what is in the database by itself.

    """

    def __init__(
        self,
        url: str,
        prefix: str,
        target: Broadcaster,
        *,
        on_change: Callable[[State], None] = lambda _: None,
    ) -> None:
        self._backend = target.backend if isinstance(target.log, TransactionalLog) else None
        if isinstance(target.log, TransactionalLog) and self._backend is None:
            raise ConfigurationError(
                "No relay is needed: servers hear PostgreSQL's log by themselves. It is for "
                "REALTIME_BACKEND=redis, pusher or ably, and for a log in the server's memory"
            )
        self._url = url
        self._prefix = prefix
        self._target = target
        self._on_change = on_change
        self.given_up = 0
        """Events that the backend will never take."""

    async def run(self) -> None:
        """Carry until cancelled; what is lost on the way to the database is made anew.

        Raises:
            DatabaseError: the log is not installed there, or not for this user.

        """
        attempt = 0
        while True:
            try:
                async with await AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=2, options=_PROBES
                ) as connection:
                    await self._stand_by(connection)
                    attempt = 0
                    await self._work(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
                said = str(error).strip().partition("\n")[0]
                _logger.warning("the database cannot be reached, trying again: %s", said)
            except psycopg.Error as error:
                raise refused(error, self._url) from error
            await asyncio.sleep(backoff.delay(attempt, random.random(), base=0.5, cap=5))  # noqa: S311
            attempt += 1

    async def _stand_by(self, connection: AsyncConnection[Any]) -> None:
        """Wait until no other relay works."""
        self._on_change("waiting")
        while True:
            if await self._lock(connection):
                break
            await asyncio.sleep(STANDBY_SECONDS)
        await connection.execute(self._sql("UPDATE {schema}.settings SET relayed = true"))
        await connection.execute(self._sql("LISTEN {schema}"))
        self._on_change("working")

    async def _lock(self, connection: AsyncConnection[Any]) -> bool:
        asked = "SELECT pg_try_advisory_lock(hashtext(%s), hashtext('relay'))"
        row = await (await connection.execute(asked, [self._prefix])).fetchone()
        return bool(row and row[0])

    async def _work(self, connection: AsyncConnection[Any]) -> None:
        while True:
            if not await self._round(connection):
                async for _ in connection.notifies(timeout=IDLE_SECONDS, stop_after=1):
                    pass

    async def _round(self, connection: AsyncConnection[Any]) -> bool:
        """Carry what waits, channel after channel, and tell whether anything did."""
        place, resting, any_carried = ("", 0), set[str](), False
        while events := await self._waiting(connection, place, resting):
            last = events[-1]
            assert last.position
            place = last.channel, last.position.offset
            carried, stuck = await self._carry(events)
            resting |= stuck
            any_carried |= bool(carried)
            await self._note_carried(connection, carried)
        if resting:
            await asyncio.sleep(STANDBY_SECONDS)
        return any_carried or bool(resting)

    async def _waiting(
        self, connection: AsyncConnection[Any], place: tuple[str, int], resting: set[str]
    ) -> list[Event]:
        asked = await connection.execute(self._sql(_WAITING), [*place, list(resting), AT_ONCE])
        return [event_of(row) for row in await asked.fetchall()]

    async def _carry(self, events: Sequence[Event]) -> tuple[list[Event], set[str]]:
        """Carry all at once, or one by one where that fails; what failed for now is stuck."""
        try:
            await self._push(events)
        except RealtimeError:
            return await self._carry_singly(events)
        return list(events), set()

    async def _carry_singly(self, events: Sequence[Event]) -> tuple[list[Event], set[str]]:
        done: list[Event] = []
        stuck: set[str] = set()
        for event in events:
            if event.channel in stuck:
                continue
            try:
                await self._push([event])
            except RealtimeError as error:
                if isinstance(error, PublishError) and error.retryable:
                    _logger.warning("%s waits: %s", event.channel, error)
                    stuck.add(event.channel)
                    continue
                self.given_up += 1
                _logger.error("%s on %s is given up: %s", event.event, event.channel, error)  # noqa: TRY400 -- a sentence, not a bug
            done.append(event)
        return done, stuck

    async def _push(self, events: Sequence[Event]) -> None:
        if isinstance(self._backend, Backend):
            await self._backend.push(events)
        else:
            await self._target.publish_many(events)

    async def _note_carried(
        self, connection: AsyncConnection[Any], carried: Sequence[Event]
    ) -> None:
        places = [(event.channel, event.position.offset) for event in carried if event.position]
        if places:
            columns = [list(column) for column in zip(*places, strict=True)]
            await connection.execute(self._sql(_CARRIED), columns)

    def _sql(self, text: str) -> Composed:
        return SQL(text).format(schema=Identifier(self._prefix))
