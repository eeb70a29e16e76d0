"""Conversion of Redis's errors into ours, each with one thing to do."""

from collections.abc import Callable

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,  # noqa: A004 -- Redis's own, not Python's
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,  # noqa: A004 -- Redis's own, not Python's
)

from realtime_bridge.backend.calls import CONNECTION_ERRORS
from realtime_bridge.errors import BackendAuthError, BackendUnavailableError, PublishError

CALL_ERRORS = (RedisError, *CONNECTION_ERRORS, AttributeError)
"""Errors that a call may raise. redis-py raises AttributeError when a change of the Cluster closes
a connection that is being opened."""

_RULES: tuple[tuple[tuple[type[Exception], ...], Callable[[str], PublishError], str], ...] = (
    (
        (NoPermissionError,),
        BackendAuthError,
        "give the user of REALTIME_REDIS_URL the rights that `realtime-bridge doctor` lists",
    ),
    (
        (AuthenticationError,),
        BackendAuthError,
        "check the user and password in REALTIME_REDIS_URL",
    ),
    (
        (OutOfMemoryError,),
        lambda message: PublishError(message, retryable=True),
        "the memory is full: raise its maxmemory, or keep less (REALTIME_HISTORY_…)",
    ),
    (
        (ReadOnlyError,),
        BackendUnavailableError,
        "the server is a replica: name the master, or its sentinels (redis+sentinel://)",
    ),
    (
        (BusyLoadingError, ClusterDownError),
        BackendUnavailableError,
        "the server is starting, or a part of the Cluster is down: wait",
    ),
    (
        (MaxConnectionsError,),
        BackendUnavailableError,
        "all connections of this process are in use: publish less at the same time",
    ),
    (
        (ConnectionError, TimeoutError, ClusterError),
        BackendUnavailableError,
        "check that it runs, and that REALTIME_REDIS_URL has its address",
    ),
)
"""Error classes, the class to raise, and the hint. The first match counts: the last rule's
ConnectionError is a base class of several above."""

_RETRYABLE = ("MISCONF", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS")
"""First words of errors that pass; redis-py has no classes for them."""


def to_publish_error(error: Exception, server: str) -> PublishError:
    """Return the error to raise: what failed at which server, and what to do."""
    for kinds, error_class, hint in _RULES:
        if isinstance(error, kinds):
            return error_class(f"{server} failed ({error or 'no answer'}): {hint}")
    if not isinstance(error, RedisError):
        text = str(error) or type(error).__name__
        return BackendUnavailableError(f"{server} failed ({text}): {_RULES[-1][2]}")
    return PublishError(
        f"{server} rejected the call: {error}", retryable=str(error).startswith(_RETRYABLE)
    )
