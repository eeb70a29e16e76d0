"""Errors of the database, each with one thing to do."""

import psycopg
from psycopg import errors

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.known_secrets import hide_in_error
from realtime_bridge.postgres.address import server_name

_NOT_INSTALLED = (
    errors.InvalidSchemaName,
    errors.UndefinedTable,
    errors.UndefinedFunction,
    errors.UndefinedColumn,
)


class DatabaseError(RealtimeError):
    """PostgreSQL rejected a connection or a statement."""


def to_database_error(error: psycopg.Error, url: str) -> DatabaseError:
    """Return the error to raise, with the database's address and what to do."""
    hide_in_error(error)
    # The lines after the first may hold values of rows.
    message = str(error).strip().partition("\n")[0]
    hint = ". Run `realtime-bridge postgres install`" if isinstance(error, _NOT_INSTALLED) else ""
    return DatabaseError(f"{server_name(url)}: {message}{hint}")
