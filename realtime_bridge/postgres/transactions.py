"""Writing events within the caller's own transaction, whatever kind of connection has it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.event import Event

Row = tuple[str, str, str, str, str | None, str | None]

COLUMNS = ("channel", "event", "id", "body", "key", "source")


def rows(events: Sequence[Event]) -> list[Row]:
    """Return what is written of the events: their places come at commit."""
    return [
        (event.channel, event.event, event.id, event.body.decode(), event.key, event.source)
        for event in events
    ]


def write(connection: Any, prefix: str, events: Sequence[Event]) -> Awaitable[None] | None:
    """Insert the events through `connection`, in its transaction.

    Args:
        connection: of psycopg, SQLAlchemy or Django; async ones give something to await.
        prefix: the schema of the log.
        events: what to write.

    Raises:
        ConfigurationError: it is another kind of connection.

    """
    kind = type(connection)
    for base in kind.__mro__:
        writer = _WRITERS.get(f"{base.__module__.partition('.')[0]}.{base.__name__}")
        if writer:
            answer: Awaitable[None] | None = writer(connection, prefix, rows(events))
            return answer
    raise ConfigurationError(
        f"transaction={kind.__module__}.{kind.__name__}: give a connection of psycopg, a "
        "connection or session of SQLAlchemy on psycopg, or Django's `connection`"
    )


def _insert(prefix: str, placeholders: str) -> str:
    quoted = '"' + prefix.replace('"', '""') + '"'
    return f"INSERT INTO {quoted}.outbox ({', '.join(COLUMNS)}) VALUES ({placeholders})"  # noqa: S608 -- the prefix is quoted, the rest is ours


def _by_psycopg(connection: Any, prefix: str, values: list[Row]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(_insert(prefix, ", ".join(["%s"] * len(COLUMNS))), values)


async def _by_async_psycopg(connection: Any, prefix: str, values: list[Row]) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany(_insert(prefix, ", ".join(["%s"] * len(COLUMNS))), values)


def _by_sqlalchemy(connection: Any, prefix: str, values: list[Row]) -> Any:
    from sqlalchemy import text

    statement = text(_insert(prefix, ", ".join(f":{name}" for name in COLUMNS)))
    return connection.execute(statement, [dict(zip(COLUMNS, row, strict=True)) for row in values])


def _by_sync_sqlalchemy(connection: Any, prefix: str, values: list[Row]) -> None:
    _by_sqlalchemy(connection, prefix, values)


async def _by_async_sqlalchemy(connection: Any, prefix: str, values: list[Row]) -> None:
    await _by_sqlalchemy(connection, prefix, values)


_WRITERS: dict[str, Callable[[Any, str, list[Row]], Any]] = {
    "psycopg.Connection": _by_psycopg,
    "psycopg.AsyncConnection": _by_async_psycopg,
    "sqlalchemy.Connection": _by_sync_sqlalchemy,
    "sqlalchemy.Session": _by_sync_sqlalchemy,
    "sqlalchemy.AsyncConnection": _by_async_sqlalchemy,
    "sqlalchemy.AsyncSession": _by_async_sqlalchemy,
    "django.BaseDatabaseWrapper": _by_psycopg,
    "django.ConnectionProxy": _by_psycopg,
}
"""By the package and name of their class, so that none of these has to be installed."""
