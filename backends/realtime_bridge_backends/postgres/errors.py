"""Conversion of PostgreSQL's errors into ours, each with one thing to do."""

from collections.abc import Callable

import psycopg
from psycopg import errors

from realtime_bridge.errors import BackendAuthError, BackendUnavailableError, PublishError
from realtime_bridge.model.known_secrets import hide_in_error
from realtime_bridge.postgres.scheme import url_variable

_RULES: tuple[tuple[tuple[type[Exception], ...], Callable[[str], PublishError], str], ...] = (
    (
        (
            errors.InvalidSchemaName,
            errors.UndefinedTable,
            errors.UndefinedFunction,
            errors.UndefinedColumn,
        ),
        PublishError,
        "Run `realtime-bridge postgres install`",
    ),
    (
        (errors.InsufficientPrivilege,),
        BackendAuthError,
        "Grant this user the schema, its tables and functions",
    ),
    (
        (errors.ReadOnlySqlTransaction,),
        BackendUnavailableError,
        "The server is a standby: name the primary (target_session_attrs=read-write)",
    ),
    (
        (
            errors.SerializationFailure,
            errors.DeadlockDetected,
            errors.LockNotAvailable,
            errors.QueryCanceled,
        ),
        lambda message: PublishError(message, retryable=True),
        "Try again",
    ),
    (
        (errors.DiskFull,),
        lambda message: PublishError(message, retryable=True),
        "The database's disk is full: free space there. Reads are still answered",
    ),
    (
        (psycopg.OperationalError, psycopg.InterfaceError, OSError),
        BackendUnavailableError,
        "Check that it runs, and that {variable} has its address",
    ),
)
"""Error classes, the class to raise, and the hint. The first match counts: the last rule's
OperationalError is a base class of several above."""

# A failed login has no SQLSTATE in libpq: the text is all there is.
_LOGIN_FAILURES = (
    "password authentication failed",
    "no pg_hba.conf entry",
    "role ",
    "no password supplied",
)


def to_publish_error(error: Exception, server: str) -> PublishError:
    """Return the error to raise: what failed at which server, and what to do."""
    hide_in_error(error)
    message = f"{server}: {_first_line(error)}"
    if isinstance(error, psycopg.OperationalError) and any(
        text in message for text in _LOGIN_FAILURES
    ):
        variable = url_variable()
        return BackendAuthError(f"{message}. Check user and password in {variable}")
    for kinds, error_class, hint in _RULES:
        if isinstance(error, kinds):
            return error_class(f"{message}. {_with_variable(hint)}")
    if not isinstance(error, psycopg.Error):  # uvloop's RuntimeError of a reset among them
        return BackendUnavailableError(f"{message}. {_with_variable(_RULES[-1][2])}")
    return PublishError(message)


def _with_variable(hint: str) -> str:
    return hint.format(variable=url_variable()) if "{" in hint else hint


def _first_line(error: Exception) -> str:
    """Return the first line of the message; the lines after it may hold values of rows."""
    return str(error).strip().partition("\n")[0] or (
        "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    )
