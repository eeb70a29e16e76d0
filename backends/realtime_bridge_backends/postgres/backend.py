"""Log and feed in PostgreSQL: offsets assigned under a lock on the channel's row."""

from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from realtime_bridge.backend.calls import CONNECTION_ERRORS
from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.feed import Feed, Listener
from realtime_bridge.backend.log import TransactionalLog
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema, transactions
from realtime_bridge.postgres.errors import server_name
from realtime_bridge.postgres.rows import position_from_row
from realtime_bridge_backends.postgres import queries
from realtime_bridge_backends.postgres.checks import run_checks
from realtime_bridge_backends.postgres.errors import to_publish_error
from realtime_bridge_backends.postgres.listener import PostgresListener

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

CONNECT_SECONDS = 2
MAX_CONNECTIONS = 8
"""Connections of one process, and so its parallel calls; each is a process of the server."""


class PostgresBackend(TransactionalLog, Feed, Plugin):
    """Log and feed of all channels, in one schema; any process may append and listen.

    Args:
        url: the database's address: a URL or another text that libpq accepts.
        prefix: the name of the schema.
        retention: the history that a channel keeps.

    """

    def __init__(
        self, url: str, *, prefix: str = "realtime", retention: Retention | None = None
    ) -> None:
        self._url = url
        self._server = server_name(url)
        self._prefix = prefix
        self._retention = retention or Retention()
        self._pool: AsyncConnectionPool[AsyncConnection[Any]] | None = None
        self._unreadable = UnreadableEvents(self._server)

    def __str__(self) -> str:
        return self._server

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return a log in the database at `REALTIME_POSTGRES_URL`."""
        from realtime_bridge.postgres.settings import PostgresSettings

        return cls(
            PostgresSettings.required_url(), prefix=settings.prefix, retention=settings.retention
        )

    @classmethod
    def is_configured(cls) -> bool:
        """Return whether the environment names a database."""
        from realtime_bridge.postgres.settings import PostgresSettings

        return PostgresSettings.load().url is not None

    async def __aenter__(self) -> Self:
        self._pool = AsyncConnectionPool(
            self._url,
            min_size=0,  # connect on use: a worker may never publish
            max_size=MAX_CONNECTIONS,
            timeout=CONNECT_SECONDS,
            open=False,
            # autocommit: each call is one statement, and so one transaction.
            kwargs={"autocommit": True, "connect_timeout": CONNECT_SECONDS},
            configure=self._configure,
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
        """Append in one call, and so in one transaction: all events or none."""
        if not events:
            return []
        columns = [list(column) for column in zip(*transactions.outbox_rows(events), strict=True)]
        channels, names, ids, bodies, keys, sources = columns
        rows = await self._query(
            'SELECT epoch, "offset", duplicate FROM {}.append(%s, %s, %s, %s, %s, %s)',
            [channels, names, ids, bodies, keys, sources],
        )
        return [
            Receipt(id=event.id, position=Position(epoch, offset, event.id), duplicate=duplicate)
            for event, (epoch, offset, duplicate) in zip(events, rows, strict=True)
        ]

    def append_in_transaction(
        self, transaction: object, events: Sequence[Event]
    ) -> Awaitable[None] | None:
        """Insert the events through the caller's connection."""
        return transactions.write_to_outbox(transaction, self._prefix, events)

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset."""
        limit = min(limit, PAGE_EVENTS)
        rows = await self._query(queries.AFTER, [after.offset, after.offset, limit + 1, channel])
        if not rows:  # no such channel, or expired: `positions` begins an epoch
            top = (await self.positions([channel]))[channel]
            rows = [(top.epoch, top.offset, top.id, 1, None, *[None] * 9)]
        return queries.read_result(rows, after, limit, self._unreadable)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        names = list(channels)
        if not names:
            return {}
        rows = await self._query("SELECT * FROM {}.positions(%s)", [names])
        return {name: position_from_row(place) for name, *place in rows}

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key."""
        limit = min(limit, PAGE_EVENTS)
        rows = await self._query(queries.LATEST, [after, limit + 1, channel])
        if not rows:
            return Page(events=(), top=(await self.positions([channel]))[channel])
        return queries.latest_page(rows, limit, self._unreadable)

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch if `expected_epoch` is still the channel's."""
        await self._query("SELECT {}.rotate_epoch(%s, %s)", [channel, expected_epoch])
        return (await self.positions([channel]))[channel]

    async def generation(self, configuration: str) -> int:
        """Return the generation of this configuration, stored in the database."""
        ((generation,),) = await self._query("SELECT {}.generation_for(%s)", [configuration])
        return int(generation)

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener on a separate connection."""
        listener = PostgresListener(
            self._url,
            self._prefix,
            positions=self.positions,
            server=self._server,
            unreadable=self._unreadable,
        )
        async with listener:
            yield listener

    async def check(self) -> list[CheckResult]:
        """Check the database and its schema."""
        return await run_checks(self._url, self._prefix, self._server)

    async def _configure(self, connection: AsyncConnection[Any]) -> None:
        """Store the retention, once per connection."""
        await connection.execute(schema.set_retention(self._prefix, self._retention))

    async def _query(self, query: str, values: Sequence[Any]) -> list[Any]:
        assert self._pool, "enter the backend's context first"
        statement = SQL(query).format(Identifier(self._prefix))
        try:
            async with self._pool.connection() as connection:
                return await (await connection.execute(statement, values)).fetchall()
        except PoolTimeout as error:
            raise await self._connection_error(error) from error
        except (psycopg.Error, *CONNECTION_ERRORS) as error:
            raise to_publish_error(error, self._server) from error

    async def _connection_error(self, pool_error: PoolTimeout) -> PublishError:
        """Return the reason of a pool's timeout: connect once without it, and see what fails.

        The pool retries in the background and reports no cause.
        """
        try:
            connecting = AsyncConnection.connect(self._url, connect_timeout=CONNECT_SECONDS)
            async with await connecting as connection:
                await self._configure(connection)
        except (psycopg.Error, OSError) as error:
            return to_publish_error(error, self._server)
        return to_publish_error(pool_error, self._server)
