"""What the database refused, in a sentence with its cure."""

import psycopg
from psycopg import errors

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.urls import redact

_NOT_INSTALLED = (errors.InvalidSchemaName, errors.UndefinedTable, errors.UndefinedFunction)


class DatabaseError(RealtimeError):
    """The database refused."""


def refused(error: psycopg.Error, url: str) -> DatabaseError:
    """Return the error to raise: what was refused where, and what to do."""
    said = str(error).strip().partition("\n")[0]
    cure = ". Run `realtime-bridge postgres install` there"
    return DatabaseError(
        f"PostgreSQL at {redact(url)}: {said}{cure if isinstance(error, _NOT_INSTALLED) else ''}"
    )
