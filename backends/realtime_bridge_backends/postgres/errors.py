"""What PostgreSQL refused or failed to do, in our own errors, each with its cure."""

from collections.abc import Callable
from urllib.parse import urlsplit

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from realtime_bridge.errors import BackendAuthError, BackendUnavailableError, PublishError
from realtime_bridge.model.urls import redact

LOST = (psycopg.OperationalError, psycopg.InterfaceError, OSError, TimeoutError)
"""What says that the connection, or the server, is gone."""

_CURES: tuple[tuple[tuple[type[Exception], ...], Callable[[str], PublishError], str], ...] = (
    (
        (
            errors.InvalidSchemaName,
            errors.UndefinedTable,
            errors.UndefinedFunction,
            errors.UndefinedColumn,
        ),
        PublishError,
        "Run `realtime-bridge postgres install` there",
    ),
    (
        (errors.InsufficientPrivilege,),
        BackendAuthError,
        "Grant this user the schema, its tables and functions",
    ),
    (
        (errors.ReadOnlySqlTransaction,),
        BackendUnavailableError,
        "It is a standby: name the primary (target_session_attrs=read-write)",
    ),
    (
        (
            errors.SerializationFailure,
            errors.DeadlockDetected,
            errors.LockNotAvailable,
            errors.QueryCanceled,
        ),
        lambda said: PublishError(said, retryable=True),
        "It may work when it is tried again",
    ),
    (
        (*LOST, PoolTimeout),
        BackendUnavailableError,
        "Check that it runs, and that REALTIME_POSTGRES_URL says where",
    ),
)
_AUTH = ("password authentication failed", "no pg_hba.conf entry", "role ", "no password supplied")


def shown(url: str) -> str:
    """Return the address without credentials, fit for a message."""
    return redact(url) if urlsplit(url).hostname else "PostgreSQL's default address"


def explained(error: Exception, where: str) -> PublishError:
    """Return the error to raise: what was wrong at which server, and what to do."""
    said = f"{where}: {_sentence(error)}"
    if isinstance(error, psycopg.OperationalError) and any(word in said for word in _AUTH):
        return BackendAuthError(f"{said}. Check user and password in REALTIME_POSTGRES_URL")
    for kinds, failure, cure in _CURES:
        if isinstance(error, kinds):
            return failure(f"{said}. {cure}")
    return PublishError(said)


def _sentence(error: Exception) -> str:
    """Return the first line of what was said; details may hold data."""
    return str(error).strip().partition("\n")[0] or "no answer in time"
