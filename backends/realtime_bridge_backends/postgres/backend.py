"""The log itself: places given under a lock on the channel's row, history in a table."""

from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.feed import Feed, Listener
from realtime_bridge.backend.log import TransactionalLog
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema, transactions
from realtime_bridge.postgres.settings import PostgresSettings
from realtime_bridge_backends.postgres import queries
from realtime_bridge_backends.postgres.checks import run_checks
from realtime_bridge_backends.postgres.errors import explained, shown
from realtime_bridge_backends.postgres.listener import PostgresListener

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

CONNECT_SECONDS = 2
AT_ONCE = 8
"""Connections, and so calls at once, of one process; PostgreSQL gives each a process of its own."""


class PostgresBackend(TransactionalLog, Feed, Plugin):
    """Keeps all channels in a schema of its own; any process may append and listen.

    Args:
        url: the database's address, as libpq has it.
        prefix: the name of the schema.
        retention: how much history a channel keeps.

    """

    def __init__(
        self, url: str, *, prefix: str = "realtime", retention: Retention | None = None
    ) -> None:
        self._url = url
        self._where = f"PostgreSQL at {shown(url)}"
        self._prefix = prefix
        self._retention = retention or Retention()
        self._pool: AsyncConnectionPool[AsyncConnection[Any]] | None = None

    def __str__(self) -> str:
        return self._where

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Make one for the database at `REALTIME_POSTGRES_URL`."""
        return cls(
            PostgresSettings.required(), prefix=settings.prefix, retention=settings.retention
        )

    @classmethod
    def is_configured(cls) -> bool:
        """Tell whether an address is set."""
        return PostgresSettings.load().url is not None

    async def __aenter__(self) -> Self:
        self._pool = AsyncConnectionPool(
            self._url,
            min_size=0,
            max_size=AT_ONCE,
            timeout=CONNECT_SECONDS,
            open=False,
            kwargs={"autocommit": True, "connect_timeout": CONNECT_SECONDS},
            configure=self._prepare,
        )
        await self._pool.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pool, self._pool = self._pool, None
        if pool:
            await pool.close()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append in one call, and so in one transaction: all of the events, or none."""
        if not events:
            return []
        columns = [list(column) for column in zip(*transactions.rows(events), strict=True)]
        channels, names, ids, bodies, keys, sources = columns
        placed = await self._rows(
            "SELECT epoch, place, duplicate FROM {}.append(%s, %s, %s, %s, %s, %s)",
            [channels, names, ids, bodies, keys, sources],
        )
        return [
            Receipt(id=event.id, position=Position(epoch, place, event.id), duplicate=duplicate)
            for event, (epoch, place, duplicate) in zip(events, placed, strict=True)
        ]

    def append_in_transaction(
        self, transaction: object, events: Sequence[Event]
    ) -> Awaitable[None] | None:
        """Write the events through the caller's connection."""
        return transactions.write(transaction, self._prefix, events)

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return what follows `after`, or a reset."""
        limit = min(limit, PAGE_EVENTS)
        found = await self._rows(queries.AFTER, [after.offset, after.offset, limit + 1, channel])
        if not found:
            top = (await self.positions([channel]))[channel]
            found = [(top.epoch, top.offset, top.id, 1, None, *[None] * 9)]
        return queries.answer(found, after, limit)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        names = list(channels)
        if not names:
            return {}
        found = await self._rows("SELECT * FROM {}.positions(%s)", [names])
        return {name: Position(epoch, top, held) for name, epoch, top, held in found}

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key."""
        limit = min(limit, PAGE_EVENTS)
        found = await self._rows(queries.LATEST, [after, limit + 1, channel])
        if not found:
            return Page(events=(), top=(await self.positions([channel]))[channel])
        return queries.page(found, limit)

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch, if `expected_epoch` is still the channel's."""
        await self._rows("SELECT {}.rotate_epoch(%s, %s)", [channel, expected_epoch])
        return (await self.positions([channel]))[channel]

    async def generation(self, configuration: str) -> int:
        """Return the generation of this configuration, which the database remembers."""
        ((generation,),) = await self._rows("SELECT {}.generation_of(%s)", [configuration])
        return int(generation)

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener on a connection of its own."""
        listener = PostgresListener(
            self._url, self._prefix, positions=self.positions, where=self._where
        )
        async with listener:
            yield listener

    async def check(self) -> list[CheckResult]:
        """Look whether the database is there, and set up as a log needs it."""
        return await run_checks(self._url, self._prefix, self._where)

    async def _prepare(self, connection: AsyncConnection[Any]) -> None:
        """Tell the log how much to keep, once per connection."""
        await connection.execute(schema.keep(self._prefix, self._retention))

    async def _rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        assert self._pool, "use it as a context manager"
        asked = SQL(query).format(Identifier(self._prefix))
        try:
            async with self._pool.connection() as connection:
                return await (await connection.execute(asked, values)).fetchall()
        except PoolTimeout as error:
            raise await self._reason(error) from error
        except (psycopg.Error, OSError) as error:
            raise explained(error, self._where) from error

    async def _reason(self, given: PoolTimeout) -> PublishError:
        """Find out why there is no connection: the pool knows just that there is none."""
        try:
            connecting = AsyncConnection.connect(self._url, connect_timeout=CONNECT_SECONDS)
            async with await connecting as connection:
                await self._prepare(connection)
        except (psycopg.Error, OSError) as error:
            return explained(error, self._where)
        return explained(given, self._where)
