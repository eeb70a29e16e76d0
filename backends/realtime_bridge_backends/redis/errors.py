"""What Redis refused or failed to do, in our own errors, each with its cure."""

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

from realtime_bridge.errors import BackendAuthError, BackendUnavailableError, PublishError

LOST = (RedisError, OSError, AttributeError)
"""What a call may raise; the last by redis-py, when a Cluster's change closes a connection that is
just being made."""

Failure = Callable[[str], PublishError]

_CURES: tuple[tuple[tuple[type[Exception], ...], Failure, str], ...] = (
    (
        (NoPermissionError,),
        BackendAuthError,
        "give the user of REALTIME_REDIS_URL what `realtime-bridge doctor` lists",
    ),
    (
        (AuthenticationError,),
        BackendAuthError,
        "check the user and password in REALTIME_REDIS_URL",
    ),
    (
        (OutOfMemoryError,),
        lambda said: PublishError(said, retryable=True),
        "it is full: raise its maxmemory, or keep less (REALTIME_HISTORY_…)",
    ),
    (
        (ReadOnlyError,),
        BackendUnavailableError,
        "it is a replica: name the master, or its sentinels (redis+sentinel://)",
    ),
    (
        (BusyLoadingError, ClusterDownError),
        BackendUnavailableError,
        "it is starting, or a part of it is down",
    ),
    (
        (MaxConnectionsError,),
        BackendUnavailableError,
        "this process has all its connections in use",
    ),
    (
        (ConnectionError, TimeoutError, ClusterError, OSError, AttributeError),
        BackendUnavailableError,
        "check that it runs, and that REALTIME_REDIS_URL says where",
    ),
)


def explained(error: Exception, where: str) -> PublishError:
    """Return the error to raise: what was wrong at which server, and what to do."""
    for kinds, failure, cure in _CURES:
        if isinstance(error, kinds):
            return failure(f"{where} did not do it ({error or 'no answer'}): {cure}")
    retryable = str(error).startswith(("MISCONF", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS"))
    return PublishError(f"{where} refused it: {error}", retryable=retryable)
