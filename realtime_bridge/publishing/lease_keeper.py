"""Keeper of the leases of one broadcaster's jobs and streams."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.receipt import Lease, Renewal

RENEW_SECONDS = 5.0
"""Interval of renewals, varied by 10 %; a lease has six times as long."""

MAX_LEASES = 500
"""Leases of one call."""

Renew = Callable[[Sequence[Lease]], Awaitable[list[Renewal]]]
Notice = Callable[[Renewal], None]
"""Receives the answer to a renewal."""

_logger = logging.getLogger("realtime_bridge.publishing")


class LeaseKeeper:
    """Renews all leases in a few calls; one task, which begins with the first lease.

    Args:
        renew: renews leases in the log.
        tasks: the owner of the task.
        interval: time between two renewals, in seconds.

    """

    def __init__(self, renew: Renew, tasks: Supervisor, *, interval: float = RENEW_SECONDS) -> None:
        self._renew = renew
        self._tasks = tasks
        self._interval = interval
        self._notices: dict[Lease, Notice] = {}
        self._is_running = False
        self._outage = OutageLog(_logger, "leases not renewed", "leases are renewed again")

    def add(self, lease: Lease, notice: Notice) -> None:
        """Renew a lease from now on, and pass each answer to `notice`."""
        self._notices[lease] = notice
        if not self._is_running:
            self._is_running = True
            self._tasks.run("lease renewal", self._renew_regularly)

    def remove(self, lease: Lease) -> None:
        """Renew a lease no more."""
        self._notices.pop(lease, None)

    async def _renew_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.9, 1.1))  # noqa: S311 -- jitter
            leases = list(self._notices)
            for start in range(0, len(leases), MAX_LEASES):
                await self._renew_some(leases[start : start + MAX_LEASES])

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
