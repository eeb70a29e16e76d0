"""Errors of the database, each with one thing to do."""

from urllib.parse import urlsplit

import psycopg
from psycopg import errors

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.urls import redact

_NOT_INSTALLED = (
    errors.InvalidSchemaName,
    errors.UndefinedTable,
    errors.UndefinedFunction,
    errors.UndefinedColumn,
)


class DatabaseError(RealtimeError):
    """PostgreSQL rejected a connection or a statement."""


def server_name(url: str) -> str:
    """Return the server's name for messages, without credentials.

    libpq also accepts `host=… password=…`; such a text is not shown at all.
    """
    has_host = urlsplit(url).hostname is not None
    return f"PostgreSQL at {redact(url) if has_host else 'its default address'}"


def to_database_error(error: psycopg.Error, url: str) -> DatabaseError:
    """Return the error to raise, with the database's address and what to do."""
    # The lines after the first may hold values of rows.
    message = str(error).strip().partition("\n")[0]
    hint = ". Run `realtime-bridge postgres install`" if isinstance(error, _NOT_INSTALLED) else ""
    return DatabaseError(f"{server_name(url)}: {message}{hint}")
