"""Conversion of Redis's errors into ours, each with one thing to do."""

from collections.abc import Callable, Iterator
from ssl import SSLError

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,  # noqa: A004 -- Redis's own, not Python's
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
    TimeoutError,  # noqa: A004 -- Redis's own, not Python's
)

from realtime_bridge.backend.calls import CONNECTION_ERRORS
from realtime_bridge.errors import BackendAuthError, BackendUnavailableError, PublishError
from realtime_bridge.model.known_secrets import hide_in_error
from realtime_bridge_backends.redis.address import url_variable

CALL_ERRORS = (RedisError, RedisClusterException, *CONNECTION_ERRORS, AttributeError)
"""Errors that a call may raise. redis-py raises AttributeError when a change of the Cluster closes
a connection that is being opened."""

_UNREACHABLE = "check that it runs, and that {variable} has its address"

_RULES: tuple[tuple[tuple[type[Exception], ...], Callable[[str], PublishError], str], ...] = (
    (
        (NoPermissionError,),
        BackendAuthError,
        "give the user of {variable} the rights that `realtime-bridge doctor` lists",
    ),
    (
        (AuthenticationError,),
        BackendAuthError,
        "check the user and password in {variable}",
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
        (BusyLoadingError, ClusterDownError, SlotNotCoveredError),
        BackendUnavailableError,
        "the server is starting, or a part of the Cluster is down: wait",
    ),
    (
        (MaxConnectionsError,),
        BackendUnavailableError,
        "all connections of this process are in use: publish less at the same time",
    ),
    (
        (AskError,),
        PublishError,
        "the server is a node of a Cluster: write redis+cluster://HOST:PORT in {variable}",
    ),
    (
        (SSLError,),
        BackendUnavailableError,
        "check TLS at this port: without it write redis://, with an own authority ssl_ca_certs",
    ),
    (
        (ConnectionError, TimeoutError, ClusterError, RedisClusterException),
        BackendUnavailableError,
        _UNREACHABLE,
    ),
)
"""Error classes, the class to raise, and the hint. The first match counts: the last rule's
ConnectionError is a base class of several above."""

_RETRYABLE = ("MISCONF", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS")
"""First words of errors that pass; redis-py has no classes for them."""


_TEXT_RULES = (
    (
        "cluster mode is not enabled",
        "is a single server and no Cluster",
        "write redis://HOST:PORT in {variable}",
    ),
    (
        "unknown command 'sentinel'",
        "is no Sentinel",
        "name the sentinels in {variable}, usually at port 26379",
    ),
    (
        "db index is out of range",
        "has no database of this number",
        "write a lower number in {variable}",
    ),
    (
        "select is not allowed in cluster mode",
        "is a node of a Cluster",
        "write redis+cluster://HOST:PORT in {variable}",
    ),
)
"""Parts of errors for which redis-py has no class, in lower case, with the fact and a hint. None of
them passes by itself."""

_SENTINEL_HINT = "check that the sentinels run, and that {variable} has them and the service"
_TLS_HINT = "check that it runs, and has TLS at this port: without TLS write redis:// in {variable}"
_PLAIN_HINT = "check that it is a Redis, and has no TLS at this port: with TLS write rediss://"


def to_publish_error(error: Exception, server: str) -> PublishError:
    """Return the error to raise: what failed at which server, and what to do."""
    message, hint, error_class = describe(error, server)
    return error_class(f"{message}: {hint}")


def describe(error: Exception, server: str) -> tuple[str, str, Callable[[str], PublishError]]:
    """Return what failed, one thing to do, and the class of the error to raise."""
    hide_in_error(error)
    chain = [error, *_causes(error)]
    if any(isinstance(cause, MasterNotFoundError) for cause in chain):
        # Without its text: it describes each connection to a sentinel.
        return f"{server} has no master", _with_variable(_SENTINEL_HINT), BackendUnavailableError
    for text, fact, hint in _TEXT_RULES:
        if any(text in str(cause).lower() for cause in chain):
            return f"{server} {fact}", _with_variable(hint), PublishError
    # redis-py wraps the errors of a connection in others.
    for kinds, error_class, hint in _RULES:
        if match := next((cause for cause in chain if isinstance(cause, kinds)), None):
            message = f"{server} failed ({str(match) or 'no answer'})"
            return message, _with_variable(_specific(hint, match, server)), error_class
    if not isinstance(error, RedisError):
        message = f"{server} failed ({str(error) or 'no answer'})"
        hint = _specific(_UNREACHABLE, error, server)
        return message, _with_variable(hint), BackendUnavailableError
    retryable = str(error).startswith(_RETRYABLE)
    return (
        f"{server} rejected the call ({error})",
        "check that the server is Redis 6.2 or later, and see its log",
        lambda message: PublishError(message, retryable=retryable),
    )


def _specific(hint: str, error: BaseException, server: str) -> str:
    """Return the hint for an unreachable server, by TLS: the wrong choice looks like silence."""
    if hint is not _UNREACHABLE:
        return hint
    if "+sentinel://" in server:
        return _SENTINEL_HINT
    if "rediss" in server:
        return _TLS_HINT
    return _PLAIN_HINT if "closed by server" in str(error).lower() else hint


def _with_variable(hint: str) -> str:
    return hint.format(variable=url_variable()) if "{" in hint else hint


def _causes(error: BaseException) -> Iterator[BaseException]:
    while cause := error.__cause__ or error.__context__:
        yield cause
        error = cause
