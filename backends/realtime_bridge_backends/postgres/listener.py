"""The feed: NOTIFY wakes a connection of its own, which then reads what was committed since."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from realtime_bridge.backend.reconnecting import ReconnectingListener
from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.postgres.rows import event_of
from realtime_bridge_backends.postgres.errors import LOST, explained
from realtime_bridge_backends.postgres.queries import SINCE

CHECK_SECONDS = 10.0
"""Without a wake-up, the connection is used at least so often: a dead one stays silent for ever."""

ANSWER_SECONDS = 5.0
SWEEP_SECONDS, SWEPT_AT_ONCE = 60.0, 100
READ_AT_ONCE = 500

MOVED = """
SELECT pg_current_snapshot()::text, c.channel, c.epoch, c.top,
    CASE WHEN NOT pg_visible_in_snapshot(c.repeated_by, seen) THEN c.repeated END
FROM coalesce(%s::pg_snapshot, pg_current_snapshot()) AS seen
LEFT JOIN {}.channels c ON c.changed >= pg_snapshot_xmin(seen)
"""
"""Which channels may have moved since a snapshot: those that a transaction changed which was not
over by then. Commits become visible in any order, so no counter would do."""

PLACES = "SELECT NULL, channel, epoch, top, NULL::bigint FROM {}.channels WHERE channel = ANY(%s)"
SNAPSHOT = "SELECT pg_current_snapshot()::text"

NAME = "realtime-bridge feed"
"""How operators find the connection in pg_stat_activity."""

PROBES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2}
OPTIONS: dict[str, Any] = {"autocommit": True, "connect_timeout": 2, **PROBES}


class PostgresListener(ReconnectingListener):
    """Hears what is committed.

    Args:
        url: the database's address; not a pooler in transaction mode, on which LISTEN is lost.
        prefix: the schema, and the name that is notified.
        positions: asks where channels stand.
        where: the server, for messages.

    """

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        positions: Callable[[Iterable[str]], Awaitable[dict[str, Position]]],
        where: str,
    ) -> None:
        super().__init__()
        self._url = url
        self._schema = Identifier(prefix)
        self._positions = positions
        self._where = where
        self._known: dict[str, tuple[str, int]] = {}
        self._swept = asyncio.get_running_loop().time()

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Hear these channels from where they stand now."""
        new = [channel for channel in channels if channel not in self._known]
        for channel, top in (await self._positions(new)).items():
            self._known[channel] = top.epoch, top.offset

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Hear these channels no more."""
        for channel in channels:
            self._known.pop(channel, None)

    async def _listen_until_lost(self) -> PublishError:
        try:
            connecting = AsyncConnection.connect(self._url, application_name=NAME, **OPTIONS)
            async with await connecting as connection:
                await connection.execute(SQL("LISTEN {}").format(self._schema))
                ((seen,),) = await self._execute(connection, SNAPSHOT, [])
                self._on_connected()
                await self._catch_up(connection)
                while True:
                    seen = await self._next(connection, seen)
        except (psycopg.Error, *LOST) as error:
            return explained(error, self._where)

    async def _next(self, connection: AsyncConnection[Any], seen: str) -> str:
        """Wait for a wake-up, or so long; read what came since, and return the snapshot."""
        async for _ in connection.notifies(timeout=CHECK_SECONDS, stop_after=1):
            pass
        async with asyncio.timeout(ANSWER_SECONDS):
            seen = await self._read_since(connection, seen)
        now = asyncio.get_running_loop().time()
        if now - self._swept > SWEEP_SECONDS:
            self._swept = now
            await self._execute(connection, "SELECT {}.sweep(%s)", [SWEPT_AT_ONCE])
        return seen

    async def _catch_up(self, connection: AsyncConnection[Any]) -> None:
        """Read what came on our channels while nobody listened."""
        await self._take(connection, await self._execute(connection, PLACES, [list(self._known)]))

    async def _read_since(self, connection: AsyncConnection[Any], seen: str) -> str:
        """Read what came since a snapshot, and return the next one."""
        moved = await self._execute(connection, MOVED, [seen])
        await self._take(connection, moved)
        return str(moved[0][0])

    async def _take(
        self, connection: AsyncConnection[Any], moved: Sequence[tuple[Any, ...]]
    ) -> None:
        """Read page by page what is new on the channels that moved."""
        wanted = self._wanted(moved)
        while wanted:
            columns = [list(column) for column in zip(*wanted, strict=True)]
            rows = await self._execute(connection, SINCE, [*columns, READ_AT_ONCE])
            events = [event_of(row) for row in rows if row[0] in self._known]
            for one in events:
                assert one.position
                self._note(one.channel, one.position)
            self._queue.put([*events, *_again(events, wanted)])
            wanted = self._unfinished(wanted, rows)

    def _wanted(self, moved: Sequence[tuple[Any, ...]]) -> list[tuple[str, str, int, int | None]]:
        wanted = []
        for _, channel, epoch, top, repeated in moved:
            if channel not in self._known:
                continue
            known_epoch, after = self._known[channel]
            if known_epoch != epoch:
                after = 0
            if top > after or repeated:
                wanted.append((channel, epoch, after, repeated))
            else:
                self._known[channel] = epoch, after
        return wanted

    def _note(self, channel: str, place: Position) -> None:
        epoch, offset = self._known[channel]
        if place.epoch != epoch or place.offset > offset:
            self._known[channel] = place.epoch, place.offset

    def _unfinished(
        self, wanted: Sequence[tuple[str, str, int, int | None]], rows: Sequence[Sequence[Any]]
    ) -> list[tuple[str, str, int, int | None]]:
        """Return the channels of which a whole page was read: there may be more."""
        counts: dict[str, int] = {}
        for row in rows:
            counts[row[0]] = counts.get(row[0], 0) + 1
        return [
            (channel, epoch, self._known[channel][1], None)
            for channel, epoch, _, _ in wanted
            if counts.get(channel, 0) >= READ_AT_ONCE and channel in self._known
        ]

    async def _execute(
        self, connection: AsyncConnection[Any], query: str, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        asked = SQL(query).format(self._schema)
        return await (await connection.execute(asked, values)).fetchall()


def _again(
    events: Sequence[Event], wanted: Sequence[tuple[str, str, int, int | None]]
) -> list[Event]:
    """Return the events that are new to us, and were announced a second time already."""
    repeated = {(channel, place) for channel, _, after, place in wanted if place and place > after}
    return [
        event
        for event in events
        if event.position and (event.channel, event.position.offset) in repeated
    ]
