"""Keeper of the leases of one broadcaster's jobs and streams."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.receipt import Lease, Renewal

MAX_LEASES = 500
"""Leases of one call."""

Renew = Callable[[Sequence[Lease]], Awaitable[list[Renewal]]]
Notice = Callable[[Renewal], None]
"""Receives the answer to a renewal."""

_channel = attrgetter("channel")

_logger = logging.getLogger("realtime_bridge.publishing")


class LeaseKeeper:
    """Renews all leases in a few calls; its task begins with the first lease.

    Args:
        renew: renews leases in the log.
        tasks: the owner of the task.
        interval: time between two renewals, in seconds.
        urgent_interval: the same for a lease in a hurry.

    """

    def __init__(
        self,
        renew: Renew,
        tasks: Supervisor,
        *,
        interval: float,
        urgent_interval: float = 1.0,
    ) -> None:
        self._renew = renew
        self._tasks = tasks
        self._interval = interval
        self._urgent_interval = urgent_interval
        self._notices: dict[Lease, Notice] = {}
        self._urgent: dict[Lease, None] = {}
        self._running: set[str] = set()
        self._outage = OutageLog(_logger, "leases not renewed", "leases are renewed again")

    def add(self, lease: Lease, notice: Notice) -> None:
        """Renew a lease from now on, and pass each answer to `notice`."""
        self._notices[lease] = notice
        self._run("lease renewal", self._interval, self._notices)

    def hurry(self, lease: Lease, *, is_urgent: bool) -> None:
        """Renew a lease that was added every second, or no longer so often."""
        if is_urgent and lease in self._notices:
            self._urgent[lease] = None
            self._run("urgent lease renewal", self._urgent_interval, self._urgent)
        else:
            self._urgent.pop(lease, None)

    def remove(self, lease: Lease) -> None:
        """Renew a lease no more."""
        self._notices.pop(lease, None)
        self._urgent.pop(lease, None)

    def _run(self, name: str, interval: float, leases: Mapping[Lease, object]) -> None:
        if name not in self._running:
            self._running.add(name)
            self._tasks.run(name, lambda: self._renew_regularly(interval, leases))

    async def _renew_regularly(self, interval: float, leases: Mapping[Lease, object]) -> None:
        while True:
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 -- jitter
            # By channel: a log answers the leases of one channel by one call.
            batch = sorted(leases, key=_channel)
            for start in range(0, len(batch), MAX_LEASES):
                await self._renew_some(batch[start : start + MAX_LEASES])

    async def _renew_some(self, leases: Sequence[Lease]) -> None:
        try:
            renewals = await self._renew(leases)
        except RealtimeError as error:
            # While the log is down, it cannot end an owner either.
            self._outage.failed(error, leases=len(leases))
            return
        self._outage.works()
        for lease, renewal in zip(leases, renewals, strict=True):
            if notice := self._notices.get(lease):
                notice(renewal)
