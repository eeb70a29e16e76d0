"""Refusal of requests that waited too long for this process, while it has more than it can answer.

Without it such a process answers none in time. Each client gives up and comes again, and the
process works for clients that are gone, also when the cause of the load is over.
"""

import asyncio
import random
import socket
import struct
import sys
from collections.abc import Mapping

from realtime_bridge.server.http.request import HTTPError, Scope

RETRY_SECONDS = (5, 15)
"""Range of the random wait that a refused client is asked for."""

REASON = "more requests than this server can answer in time"
HINT = "start more servers, or give this one more of a processor"

EXTENSION = "realtime.overload"
"""ASGI extension of a request that the application refuses, so that its connection stays open."""

READS = frozenset(("poll", "latest"))
"""Routes that are refused first: a client that connects ends its polls."""

ROUTES = READS | {"connect", "sse", "ws"}
"""Routes of clients, which repeat their requests. Workers and health checks are not refused."""

# Linux fills a structure; the milliseconds since the last data are its fourteenth number
# (`tcpi_last_data_recv` in linux/tcp.h).
_LAST_DATA = struct.Struct("=52xI")


_NEVER = float("-inf")

_PAUSE = 0.01
"""Seconds for which one record of a queue stands for the requests that follow it."""


class _Queue:
    """Record of one kind of waiting requests.

    Args:
        limit: the seconds after which a request is late.

    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since = self._last = self._recorded = _NEVER

    def is_due(self, now: float) -> bool:
        """Return whether the next request is to be recorded: many come at nearly one moment."""
        return now - self._recorded >= _PAUSE

    def record(self, waited: float, now: float) -> None:
        """Record a request; one that waited less than half of the limit ends the overload."""
        self._recorded, is_recent = now, self._is_recent(now)
        if waited < self._limit / 2:
            self._last = _NEVER
        elif waited >= self._limit or is_recent:
            self._since = self._since if is_recent else now
            self._last = now

    def is_overloaded(self, now: float) -> bool:
        """Return whether requests were late for a while: a stall of the process is no overload."""
        return (
            self._last != _NEVER and self._is_recent(now) and now - self._since >= self._limit / 2
        )

    def _is_recent(self, now: float) -> bool:
        return now - self._last <= 2 * self._limit


class Overload:
    """Record of how long requests waited until this process read them.

    New connections wait in the kernel's queue, and those that are open do not: they are recorded
    apart from one another.

    Args:
        limit: the seconds after which a request is late.

    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._new, self._open = _Queue(limit), _Queue(limit)

    def is_calm(self, now: float, *, is_first: bool) -> bool:
        """Return whether nothing is refused, by a record of this moment: another adds nothing."""
        queue = self._new if is_first else self._open
        return not (queue.is_due(now) or self._is_overloaded(now))

    def _is_overloaded(self, now: float) -> bool:
        return self._new.is_overloaded(now) or self._open.is_overloaded(now)

    def refuses(self, route: str, waited: float, now: float, *, is_first: bool) -> bool:
        """Return whether a request is refused.

        Args:
            route: the route, such as `poll`.
            waited: the seconds for which the request waited.
            now: the moment, in seconds.
            is_first: whether it is the first one of its connection.

        """
        queue = self._new if is_first else self._open
        queue.record(waited, now)
        if route in READS:
            return self._is_overloaded(now)
        return waited >= self._limit and queue.is_overloaded(now)


def client_route(url: bytes, mount: str) -> str | None:
    """Return the route of a client's request that may be refused.

    Args:
        url: the path of the request, with its query.
        mount: `REALTIME_PATH`, without a slash at its end.

    """
    path, _, route = url.partition(b"?")[0].decode("latin-1").rpartition("/")
    return route if route in ROUTES and path.endswith(mount) else None


def refusal(headers: Mapping[str, str] | None = None) -> HTTPError:
    """Return the error of a refused request, which spreads the next attempts of clients.

    Args:
        headers: more headers of the response.

    """
    seconds = random.randint(*RETRY_SECONDS)  # noqa: S311 -- it protects nothing
    message = "This server has more requests than it can answer in time: try again"
    return HTTPError(
        503, "overloaded", message, headers={**(headers or {}), "retry-after": str(seconds)}
    )


def check_load(scope: Scope) -> None:
    """Check that a request was not refused before the application was called.

    Raises:
        HTTPError: 503, it was.

    """
    if EXTENSION in scope.get("extensions", ()):
        raise refusal()


def seconds_waited(transport: asyncio.BaseTransport) -> float:
    """Return the time since the last bytes of a connection arrived; 0 where that is unknown."""
    connection = transport.get_extra_info("socket")
    if sys.platform != "linux" or connection is None:
        return 0.0
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.size)
    except OSError:
        return 0.0  # a Unix socket, or one that has been closed
    milliseconds: int = _LAST_DATA.unpack(info)[0]
    return milliseconds / 1_000
