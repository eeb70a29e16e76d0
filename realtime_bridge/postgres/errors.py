"""Errors of the database, each with one thing to do."""

import psycopg
from psycopg import errors

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.known_secrets import hide_in_error
from realtime_bridge.postgres.address import server_name
from realtime_bridge.postgres.url_variable import url_variable


class DatabaseError(RealtimeError):
    """PostgreSQL rejected a connection or a statement."""


# A failed login has no SQLSTATE in libpq: the text is all there is.
_LOGIN_FAILURES = (
    "password authentication failed",
    "no pg_hba.conf entry",
    "role ",
    "no password supplied",
)
_UNREACHABLE = "Check that it runs, and that {variable} has its address"

_HINTS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (
            errors.InvalidSchemaName,
            errors.UndefinedTable,
            errors.UndefinedFunction,
            errors.UndefinedColumn,
        ),
        "Run `realtime-bridge postgres install`",
    ),
    (
        (errors.InsufficientPrivilege,),
        "Grant this user the schema, its tables and functions, or use their owner",
    ),
    (
        (errors.ReadOnlySqlTransaction,),
        "The server is a standby: name the primary (target_session_attrs=read-write)",
    ),
    (
        (
            errors.SerializationFailure,
            errors.DeadlockDetected,
            errors.LockNotAvailable,
            errors.QueryCanceled,
        ),
        "Try again",
    ),
    (
        (errors.DiskFull,),
        "The database's disk is full: free space there. Reads are still answered",
    ),
    ((psycopg.OperationalError, psycopg.InterfaceError, OSError), _UNREACHABLE),
)
"""Error classes and hints. The first match counts: OperationalError is a base of several above."""


def describe(error: Exception, server: str) -> tuple[str, str | None]:
    """Return what failed at which server, and one thing to do if there is one."""
    hide_in_error(error)
    message = f"{server}: {_first_line(error)}"
    if is_login_failure(error):
        return message, f"Check user and password in {url_variable()}"
    for kinds, hint in _HINTS:
        if isinstance(error, kinds):
            return message, hint.format(variable=url_variable()) if "{" in hint else hint
    if not isinstance(error, psycopg.Error):  # uvloop's RuntimeError of a reset among them
        return message, _UNREACHABLE.format(variable=url_variable())
    return message, None


def is_login_failure(error: Exception) -> bool:
    """Return whether the server refused the user."""
    text = _first_line(error)
    return isinstance(error, psycopg.OperationalError) and any(
        part in text for part in _LOGIN_FAILURES
    )


def to_database_error(error: psycopg.Error, url: str) -> DatabaseError:
    """Return the error to raise, with the database's address and what to do."""
    message, hint = describe(error, server_name(url))
    return DatabaseError(f"{message}. {hint}" if hint else message)


def _first_line(error: Exception) -> str:
    """Return the first line of the message; the lines after it may hold values of rows."""
    return str(error).strip().partition("\n")[0] or (
        "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    )
