"""Keys with owners in the log of one broadcaster: what it has of a key, and the leases."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol, TypeVar

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import FoldingLog, Log, require_folding
from realtime_bridge.backend.push import Backend
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Renewal
from realtime_bridge.publishing.lease_keeper import LeaseKeeper
from realtime_bridge.publishing.local_servers import local_server
from realtime_bridge.publishing.timing import PublishTiming

_NOWHERE = Position("00000000", 0)
"""Position in a channel without a log."""

T = TypeVar("T")


class LogOwner(Protocol):
    """Broadcaster, as its keys need it."""

    log: Log | None
    backend: Backend | None


class OwnedKeys:
    """Keys with owners, in the event loop of their broadcaster.

    Args:
        broadcaster: has the log.
        prefix: prefix of the servers in this process, whose log is the one of the broadcaster.
        timing: intervals of the renewals.

    """

    def __init__(self, broadcaster: LogOwner, prefix: str | None, timing: PublishTiming) -> None:
        self._broadcaster = broadcaster
        self._prefix = prefix
        self._tasks = Supervisor()
        self.leases: LeaseKeeper = LeaseKeeper(
            self._renew,
            self._tasks,
            interval=timing.renew_seconds,
            urgent_interval=timing.urgent_renew_seconds,
        )

    @property
    def are_kept(self) -> bool:
        """True if the log keeps keys with owners."""
        return isinstance(self._log, FoldingLog)

    async def close(self) -> None:
        """End the renewals."""
        await self._tasks.close()

    async def read(self, channel: str, key: str) -> Page:
        """Return the group of a key.

        Raises:
            ConfigurationError: the log keeps no keys with owners, or there is none.
            PublishError: the log did not answer.

        """
        if self._drops:
            return Page(events=(), top=_NOWHERE)
        return await self._call(lambda log: log.latest(channel, key=key))

    async def read_all(self, channel: str, after: int) -> Page:
        """Return the groups of all keys beyond an offset, without their items; errors as above."""
        return await self._call(lambda log: log.latest(channel, after=after))

    async def _renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        if self._drops:
            return [Renewal() for _ in leases]
        return await self._call(lambda log: log.renew(leases))

    @property
    def _drops(self) -> bool:
        """True where realtime is switched off: a write is accepted, and dropped."""
        backend = self._broadcaster.backend
        return self._broadcaster.log is None and backend is not None and backend.drops

    @property
    def _log(self) -> Log | None:
        server = local_server(self._prefix)
        return server.broadcaster.log if server else self._broadcaster.log

    async def _call(self, call: Callable[[FoldingLog], Coroutine[object, object, T]]) -> T:
        server, log = local_server(self._prefix), require_folding(self._log)
        if server is None:
            return await backend_call(log, call, log)
        return await backend_call(log, server.run, call(log))
