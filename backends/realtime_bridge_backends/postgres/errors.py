"""Conversion of PostgreSQL's errors into ours, each with one thing to do."""

from collections.abc import Callable

import psycopg
from psycopg import errors

from realtime_bridge.errors import BackendAuthError, BackendUnavailableError, PublishError
from realtime_bridge.postgres.errors import describe, is_login_failure


def _retryable(message: str) -> PublishError:
    return PublishError(message, retryable=True)


_CLASSES: tuple[tuple[tuple[type[Exception], ...], Callable[[str], PublishError]], ...] = (
    ((errors.InsufficientPrivilege,), BackendAuthError),
    ((errors.ReadOnlySqlTransaction,), BackendUnavailableError),
    (
        (
            errors.SerializationFailure,
            errors.DeadlockDetected,
            errors.LockNotAvailable,
            errors.QueryCanceled,
            errors.DiskFull,
        ),
        _retryable,
    ),
    ((psycopg.OperationalError, psycopg.InterfaceError), BackendUnavailableError),
    ((psycopg.Error,), PublishError),
)
"""Error classes, and the class to raise. The first match counts."""


def to_publish_error(error: Exception, server: str) -> PublishError:
    """Return the error to raise: what failed at which server, and what to do."""
    message, hint = describe(error, server)
    text = f"{message}. {hint}" if hint else message
    if is_login_failure(error):
        return BackendAuthError(text)
    matches = (create for kinds, create in _CLASSES if isinstance(error, kinds))
    # Any other error is one of the event loop: the connection is lost.
    return next(matches, BackendUnavailableError)(text)
