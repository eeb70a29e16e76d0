"""Connections of one server that have not sent a complete request."""

import sys
from collections.abc import Callable
from weakref import WeakKeyDictionary

from realtime_bridge.server.overload import Overload
from realtime_bridge.server.rejection_log import RejectionLog

LEAST = 64
"""The smallest limit: a page of a browser opens six connections."""

MANY = 50
"""Silent connections from which their end is logged: browsers open some in advance."""

REASON = "connections without a request"


class PendingRequests:
    """Connections without a complete request, oldest first: the oldest makes room for a new one.

    Without a limit, silent connections would use all file descriptors, and lock everyone out.

    Args:
        limit: the most connections; half of the process's file descriptors by default.
        overload: record of how long requests waited.

    """

    def __init__(self, limit: int | None, overload: Overload) -> None:
        self.overload: Overload = overload
        self.rejections: RejectionLog = RejectionLog()
        self._limit = _half_of_files() if limit is None else limit
        self._connections: dict[object, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: object, end: Callable[[], None]) -> None:
        """Add a connection as the newest; `end` ends it."""
        self._connections.pop(connection, None)
        self._connections[connection] = end
        if len(self._connections) > self._limit:
            end_oldest = self._connections.pop(next(iter(self._connections)))
            self.rejections.report(REASON)
            end_oldest()

    def discard(self, connection: object) -> None:
        """Remove a connection."""
        self._connections.pop(connection, None)

    def report_silence(self) -> None:
        """Report a connection that sent nothing, if there are many of them."""
        if len(self._connections) >= MANY:
            self.rejections.report(REASON)


_by_server: WeakKeyDictionary[object, PendingRequests] = WeakKeyDictionary()


def pending_of(server: object, limit: int | None, waiting: float) -> PendingRequests:
    """Return the connections without a complete request of a server.

    Args:
        server: the server.
        limit: the most connections.
        waiting: the seconds after which a request is late.

    """
    pending = _by_server.get(server)
    if pending is None:
        pending = _by_server[server] = PendingRequests(limit, Overload(waiting))
    return pending


def _half_of_files() -> int:
    if sys.platform == "win32":
        return 1_000
    import resource  # Unix alone has it

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(LEAST, soft // 2) if soft != resource.RLIM_INFINITY else 1 << 20
