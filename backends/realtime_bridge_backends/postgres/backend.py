"""Log and feed in PostgreSQL: offsets assigned under a lock on the channel's row."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg.sql import SQL, Identifier

from realtime_bridge.backend.calls import CONNECTION_ERRORS
from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.feed import EphemeralFeed, Listener
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.log import FoldingLog, TransactionalLog
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema, transactions
from realtime_bridge.postgres.address import parse_address, server_name
from realtime_bridge.postgres.connection import Connection, connect
from realtime_bridge.postgres.rows import EVENT_COLUMNS, position_from_row
from realtime_bridge_backends.postgres import queries
from realtime_bridge_backends.postgres.checks import run_checks
from realtime_bridge_backends.postgres.errors import to_publish_error
from realtime_bridge_backends.postgres.listener import PostgresListener
from realtime_bridge_backends.postgres.notices import split_message
from realtime_bridge_backends.postgres.pool import ConnectionPool
from realtime_bridge_backends.postgres.timing import PostgresTiming

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings


class PostgresBackend(TransactionalLog, ListableLog, FoldingLog, EphemeralFeed, Plugin):
    """Log and feed of all channels, in one schema; any process may append and listen.

    Args:
        url: the database's address, see `realtime_bridge.postgres.address.parse_address`.
        prefix: the name of the schema.
        retention: the history that a channel keeps.
        timing: time limits.

    Raises:
        ConfigurationError: the address is not one of PostgreSQL.

    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "realtime",
        retention: Retention | None = None,
        timing: PostgresTiming | None = None,
    ) -> None:
        self._url = parse_address(url)
        self._server = server_name(self._url)
        self._prefix = prefix
        self._retention = retention or Retention()
        self._timing = timing or PostgresTiming()
        self._pool: ConnectionPool | None = None
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

        return PostgresSettings.load().is_postgres

    async def __aenter__(self) -> Self:
        self._pool = ConnectionPool(self._connect, self._timing)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pool, self._pool = self._pool, None
        if pool:
            pool.close()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append in one call, and so in one transaction: all events or none."""
        if not events:
            return []
        columns = [list(column) for column in zip(*transactions.outbox_rows(events), strict=True)]
        *arguments, traceparents = columns
        call = queries.APPEND
        if any(event.write for event in events):
            call = queries.APPEND_OWNED
            arguments += [list(column) for column in zip(*map(_key_write_row, events), strict=True)]
        rows = await self._query(call, [*arguments, traceparents])
        return [_receipt(event, row) for event, row in zip(events, rows, strict=True)]

    def append_in_transaction(
        self, transaction: object, events: Sequence[Event]
    ) -> Awaitable[None] | None:
        """Insert the events through the caller's connection."""
        return transactions.write_to_outbox(transaction, self._prefix, events)

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset."""
        return await self._page(channel, after, limit)

    async def oldest(self, channel: str, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the oldest events of a channel."""
        return await self._page(channel, None, limit)

    async def _page(self, channel: str, after: Position | None, limit: int) -> Page | Reset:
        limit = min(limit, PAGE_EVENTS)
        offset = after.offset if after else 0
        arguments = [offset, offset, limit + 1, channel]
        rows = await self._query(queries.AFTER, arguments)
        if rows and rows[0][queries.IS_DUE_AFTER]:
            await self.positions([channel])  # it ends the silent owners
            rows = await self._query(queries.AFTER, arguments)
        if not rows:  # no such channel, or expired: `positions` begins an epoch
            top = (await self.positions([channel]))[channel]
            rows = [(top.epoch, top.offset, top.id, 1, None, False, *[None] * EVENT_COLUMNS)]
        return queries.read_result(rows, after, limit, self._unreadable)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        names = list(channels)
        if not names:
            return {}
        rows = await self._query("SELECT * FROM {}.positions(%s)", [names])
        return {name: position_from_row(place) for name, *place in rows}

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        """Return the latest event of each key, or the state of one."""
        limit = min(limit, PAGE_EVENTS)
        arguments = [0 if key else after, limit + 1, key, channel]
        rows = await self._query(queries.LATEST, arguments)
        if rows and rows[0][queries.IS_DUE_LATEST]:
            await self.positions([channel])  # it ends the silent owners
            rows = await self._query(queries.LATEST, arguments)
        if not rows:
            return Page(events=(), top=(await self.positions([channel]))[channel])
        return queries.latest_page(rows, limit, self._unreadable)

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart leases in one call."""
        if not leases:
            return []
        names, keys, attempts = zip(
            *((lease.channel, lease.key, lease.attempt) for lease in leases), strict=True
        )
        rows = await self._query(
            "SELECT refused, noted FROM {}.renew(%s, %s, %s)", [[*names], [*keys], [*attempts]]
        )
        return [Renewal(refused or None, noted) for refused, noted in rows]

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch if `expected_epoch` is still the channel's."""
        await self._query("SELECT {}.rotate_epoch(%s, %s)", [channel, expected_epoch])
        return (await self.positions([channel]))[channel]

    async def channels(self, *, stored: bool = False) -> Sequence[str]:
        """Return the channels of the schema."""
        rows = await self._query(
            "SELECT channel FROM {}.channels WHERE top >= first OR NOT %s", [stored]
        )
        return [channel for (channel,) in rows]

    async def generation(self, configuration: str) -> int:
        """Return the generation of this configuration, stored in the database."""
        ((generation,),) = await self._query("SELECT {}.generation_for(%s)", [configuration])
        return int(generation)

    async def send_ephemeral(self, event: EphemeralEvent) -> None:
        """Notify the listeners of an event that no log keeps, in one transaction."""
        await self._query(queries.NOTIFY, [self._prefix, split_message(event.encode().decode())])

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener on a separate connection."""
        listener = PostgresListener(
            self._url,
            self._prefix,
            positions=self.positions,
            server=self._server,
            unreadable=self._unreadable,
            timing=self._timing,
        )
        async with listener:
            yield listener

    async def check(self) -> list[CheckResult]:
        """Check the database and its schema."""
        return await run_checks(self._url, self._prefix, self._server)

    async def _connect(self) -> Connection:
        """Open a connection, and store the retention once per connection."""
        connection = await connect(self._url)
        try:
            await connection.execute(schema.set_retention(self._prefix, self._retention))
        except BaseException:
            connection.abandon()
            raise
        return connection

    async def _query(self, query: str, values: Sequence[Any]) -> list[Any]:
        if self._pool is None:
            raise ConfigurationError(
                f"{self} is not connected: enter the broadcaster by `async with` before a publish"
            )
        statement = SQL(query).format(Identifier(self._prefix))
        try:
            # The deadline includes the waits for a free connection and for a new one.
            async with (
                asyncio.timeout(self._timing.call_seconds),
                self._pool.connection() as connection,
            ):
                return await (await connection.execute(statement, values)).fetchall()
        except TimeoutError as error:
            late = TimeoutError(f"no answer within {self._timing.call_seconds:g} s")
            raise to_publish_error(late, self._server) from error
        except (psycopg.Error, *CONNECTION_ERRORS) as error:
            raise to_publish_error(error, self._server) from error


def _key_write_row(event: Event) -> tuple[Any, ...]:
    write = event.write
    if write is None:
        return (None,) * 6
    will = (write.will.event, write.will.body.decode()) if write.will else (None, None)
    return (write.fold, write.attempt, write.take, write.lease, *will)


def _receipt(event: Event, row: Sequence[Any]) -> Receipt:
    epoch, offset, duplicate, refused, noted = row
    position = Position(epoch, offset, event.id) if refused is None else None
    return Receipt(
        id=event.id, position=position, duplicate=duplicate, refused=refused, noted=noted
    )
