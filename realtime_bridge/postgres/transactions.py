"""Writes into the outbox, on the caller's connection and in the caller's transaction."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from realtime_bridge.errors import ConfigurationError, InvalidEventError
from realtime_bridge.model.event import Event

Row = tuple[str, str, str, str, str | None, str | None, str | None]

COLUMNS = ("channel", "event", "id", "body", "key", "source", "traceparent")


def outbox_rows(events: Sequence[Event]) -> list[Row]:
    """Return the rows of events without positions: the commit assigns those."""
    return [
        (e.channel, e.event, e.id, e.body.decode(), e.key, e.source, e.traceparent) for e in events
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
            result: Awaitable[None] | None = writer(connection, prefix, events)
            return result
    raise ConfigurationError(
        f"transaction={kind.__module__}.{kind.__name__} is not supported: pass a connection of "
        "psycopg, a connection or session of SQLAlchemy on psycopg, or Django's `connection`"
    )


def _insert(prefix: str, placeholders: str) -> str:
    quoted = '"' + prefix.replace('"', '""') + '"'
    return f"INSERT INTO {quoted}.outbox ({', '.join(COLUMNS)}) VALUES ({placeholders})"  # noqa: S608 -- the prefix is quoted, the rest is constant


def _with_psycopg(connection: Any, prefix: str, events: Sequence[Event]) -> None:
    statement = _insert(prefix, ", ".join(["%s"] * len(COLUMNS)))
    with connection.cursor() as cursor:
        cursor.executemany(statement, _encodable_rows(events, connection))


async def _with_async_psycopg(connection: Any, prefix: str, events: Sequence[Event]) -> None:
    statement = _insert(prefix, ", ".join(["%s"] * len(COLUMNS)))
    async with connection.cursor() as cursor:
        await cursor.executemany(statement, _encodable_rows(events, connection))


def _with_django(connection: Any, prefix: str, events: Sequence[Event]) -> None:
    statement = _insert(prefix, ", ".join(["%s"] * len(COLUMNS)))
    with connection.cursor() as cursor:
        cursor.executemany(statement, _encodable_rows(events, connection.connection))


def _with_sqlalchemy(connection: Any, prefix: str, events: Sequence[Event]) -> None:
    from sqlalchemy import text

    # A session gives its connection.
    while not hasattr(connection, "exec_driver_sql"):
        connection = connection.connection()
    rows = _encodable_rows(events, connection.connection.driver_connection)
    statement = text(_insert(prefix, ", ".join(f":{name}" for name in COLUMNS)))
    connection.execute(statement, [dict(zip(COLUMNS, row, strict=True)) for row in rows])


async def _with_async_sqlalchemy(connection: Any, prefix: str, events: Sequence[Event]) -> None:
    while not hasattr(connection, "exec_driver_sql"):
        connection = await connection.connection()
    await connection.run_sync(_with_sqlalchemy, prefix, events)


def _encodable_rows(events: Sequence[Event], connection: Any) -> list[Row]:
    """Return rows that the connection's encoding has characters for; JSON can escape all others.

    Raises:
        InvalidEventError: a name, a key, an id or a source has other characters.

    """
    info = getattr(connection, "info", None)
    encoding = str(getattr(info, "encoding", "utf-8"))
    rows = outbox_rows(events)
    if encoding == "utf-8":
        return rows
    encodable = []
    for channel, name, event_id, body, key, source, traceparent in rows:
        for text in (name, event_id, key, source):
            if text is not None and not _fits(text, encoding):
                raise InvalidEventError(
                    f"{text!r} has characters that the transaction's connection does not have "
                    f"({encoding}): connect with client_encoding=utf8"
                )
        escaped = (
            body if _fits(body, encoding) else json.dumps(json.loads(body), separators=(",", ":"))
        )
        encodable.append((channel, name, event_id, escaped, key, source, traceparent))
    return encodable


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


_WRITERS: dict[str, Callable[[Any, str, Sequence[Event]], Any]] = {
    "psycopg.Connection": _with_psycopg,
    "psycopg.AsyncConnection": _with_async_psycopg,
    "sqlalchemy.Connection": _with_sqlalchemy,
    "sqlalchemy.Session": _with_sqlalchemy,
    "sqlalchemy.scoped_session": _with_sqlalchemy,
    "sqlalchemy.AsyncConnection": _with_async_sqlalchemy,
    "sqlalchemy.AsyncSession": _with_async_sqlalchemy,
    "sqlalchemy.async_scoped_session": _with_async_sqlalchemy,
    "django.BaseDatabaseWrapper": _with_django,
    "django.ConnectionProxy": _with_django,
}
"""Writers by package and class name of the connection: none of the packages is imported here."""
