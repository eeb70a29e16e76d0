"""Delivery to outlets by one server of several, which has a lease in the log."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import RealtimeError
from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.server.outlets.lease import DelivererLease
from realtime_bridge.server.outlets.outlet import Outlet
from realtime_bridge.server.statistics import OutletCounts

if TYPE_CHECKING:
    from realtime_bridge.server.outlets.delivery import OutletDelivery
    from realtime_bridge.server.outlets.sender import Sign

WORKERS = 8
"""Requests of one outlet at the same time."""

_logger = logging.getLogger("realtime_bridge.outlets")


class Scan(Protocol):
    """Search for the channels whose events are to be delivered."""

    async def begin(self) -> None:
        """Begin a term of this server: another one may have delivered before.

        Raises:
            RealtimeError: the log is unavailable.

        """

    async def run(self, deliveries: Sequence["OutletDelivery"]) -> None:
        """Queue the channels with new events.

        Raises:
            RealtimeError: the log is unavailable.

        """

    def end(self) -> None:
        """End the term."""


class Deliverer:
    """Delivery to some outlets, while this server has their lease.

    Args:
        outlets: the outlets.
        log: the log with the events.
        lease: the lease, which one server of several has.
        scan: finds the channels with new events.
        sign: returns the request of an event.
        timing: durations.
        private: whether private addresses may be reached.

    """

    def __init__(
        self,
        outlets: Sequence[Outlet],
        log: ListableLog,
        lease: DelivererLease,
        scan: Scan,
        sign: "Sign",
        timing: OutletTiming,
        *,
        private: bool,
    ) -> None:
        self.counts: Sequence[OutletCounts] = [OutletCounts() for _ in outlets]
        """Counts of each outlet in this run."""
        self._outlets = outlets
        self._log = log
        self._lease = lease
        self._scan = scan
        self._sign = sign
        self._timing = timing
        self._private = private

    async def run(self) -> None:
        """Deliver, while this server has the lease; it never ends."""
        outage = OutageLog(_logger, "outlets wait for the log", "outlets work again")
        while True:
            try:
                if await self._lease.acquire():
                    count = len(self._outlets)
                    _logger.info("this server delivers to the outlets outlets=%d", count)
                    await self._deliver()
            except RealtimeError as error:
                outage.failed(error)
            else:
                outage.works()
            await asyncio.sleep(self._timing.renew_seconds * random.uniform(0.5, 1))  # noqa: S311 -- jitter

    async def _deliver(self) -> None:
        """Deliver until the lease is another server's.

        Raises:
            RealtimeError: the log is unavailable.

        """
        from realtime_bridge.server.outlets.delivery import OutletDelivery
        from realtime_bridge.server.outlets.sender import WebhookSender

        log, timing = self._log, self._timing
        seconds, private = timing.request_seconds, self._private
        async with WebhookSender(self._sign, seconds=seconds, private=private) as sender:
            deliveries = [
                OutletDelivery(outlet, log, sender, count, timing)
                for outlet, count in zip(self._outlets, self.counts, strict=True)
            ]
            try:
                for delivery in deliveries:
                    await delivery.load()
                async with Supervisor() as tasks:
                    for number, delivery in enumerate(deliveries):
                        for worker in range(WORKERS):
                            tasks.run(f"outlet {number} worker {worker}", delivery.work)
                    await self._scan_regularly(deliveries)
            finally:
                self._scan.end()
                # At a stop the next server shall not wait for the end of the lease.
                with suppress(RealtimeError, TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._lease.release()

    async def _scan_regularly(self, deliveries: Sequence["OutletDelivery"]) -> None:
        """Queue the channels with new events, and renew the lease, until it is lost."""
        renewed = time.monotonic()
        await self._scan.begin()
        while True:
            await self._scan.run(deliveries)
            for delivery in deliveries:
                delivery.wake()
            await asyncio.sleep(self._timing.scan_seconds)
            if time.monotonic() - renewed >= self._timing.renew_seconds:
                renewed = time.monotonic()
                if not await self._lease.renew():
                    _logger.info("another server delivers to the outlets")
                    return
