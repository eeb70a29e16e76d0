"""Writes into the outbox, on the caller's connection and in the caller's transaction."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.event import Event

Row = tuple[str, str, str, str, str | None, str | None]

COLUMNS = ("channel", "event", "id", "body", "key", "source")


def outbox_rows(events: Sequence[Event]) -> list[Row]:
    """Return the rows of events without positions: the commit assigns those."""
    return [
        (event.channel, event.event, event.id, event.body.decode(), event.key, event.source)
        for event in events
    ]


def write_to_outbox(
    connection: Any, prefix: str, events: Sequence[Event]
) -> Awaitable[None] | None:
    """Insert events through `connection`, in its transaction.

    Args:
        connection: of psycopg, SQLAlchemy or Django; for async ones, await the result.
        prefix: the schema of the log.
        events: the events to insert.

    Raises:
        ConfigurationError: the connection has another type.

    """
    kind = type(connection)
    for base in kind.__mro__:
        writer = _WRITERS.get(f"{base.__module__.partition('.')[0]}.{base.__name__}")
        if writer:
            result: Awaitable[None] | None = writer(connection, prefix, outbox_rows(events))
            return result
    raise ConfigurationError(
        f"transaction={kind.__module__}.{kind.__name__} is not supported: pass a connection of "
        "psycopg, a connection or session of SQLAlchemy on psycopg, or Django's `connection`"
    )


def _insert(prefix: str, placeholders: str) -> str:
    quoted = '"' + prefix.replace('"', '""') + '"'
    return f"INSERT INTO {quoted}.outbox ({', '.join(COLUMNS)}) VALUES ({placeholders})"  # noqa: S608 -- the prefix is quoted, the rest is constant


def _with_psycopg(connection: Any, prefix: str, values: list[Row]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(_insert(prefix, ", ".join(["%s"] * len(COLUMNS))), values)


async def _with_async_psycopg(connection: Any, prefix: str, values: list[Row]) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany(_insert(prefix, ", ".join(["%s"] * len(COLUMNS))), values)


def _execute_with_sqlalchemy(connection: Any, prefix: str, values: list[Row]) -> Any:
    from sqlalchemy import text

    statement = text(_insert(prefix, ", ".join(f":{name}" for name in COLUMNS)))
    return connection.execute(statement, [dict(zip(COLUMNS, row, strict=True)) for row in values])


def _with_sqlalchemy(connection: Any, prefix: str, values: list[Row]) -> None:
    _execute_with_sqlalchemy(connection, prefix, values)


async def _with_async_sqlalchemy(connection: Any, prefix: str, values: list[Row]) -> None:
    await _execute_with_sqlalchemy(connection, prefix, values)


_WRITERS: dict[str, Callable[[Any, str, list[Row]], Any]] = {
    "psycopg.Connection": _with_psycopg,
    "psycopg.AsyncConnection": _with_async_psycopg,
    "sqlalchemy.Connection": _with_sqlalchemy,
    "sqlalchemy.Session": _with_sqlalchemy,
    "sqlalchemy.AsyncConnection": _with_async_sqlalchemy,
    "sqlalchemy.AsyncSession": _with_async_sqlalchemy,
    "django.BaseDatabaseWrapper": _with_psycopg,
    "django.ConnectionProxy": _with_psycopg,
}
"""Writers by package and class name of the connection: none of the packages is imported here."""
