"""Outlets of a bridge: one server of several delivers to all of them."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.log import FoldingLog, Log, require_folding
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import ConfigurationError, ExtraNotInstalledError, RealtimeError
from realtime_bridge.model.channel import is_internal
from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.outlets.lease import DelivererLease
from realtime_bridge.server.outlets.outlet import Outlet, When, outlet_keys
from realtime_bridge.server.outlets.watched import WatchAnnouncer, watched_digests
from realtime_bridge.server.statistics import OutletCounts, ServerStatistics
from realtime_bridge.settings import Settings

Work = dict[str, Callable[[], Coroutine[Any, Any, None]]]

if TYPE_CHECKING:
    from realtime_bridge.server.outlets.delivery import OutletDelivery

WORKERS = 8
"""Requests of one outlet at the same time."""

CHANNELS = 500
"""Channels whose positions are read at once."""

_logger = logging.getLogger("realtime_bridge.outlets")


class Outlets:
    """Outlets of a bridge.

    Args:
        settings: the configuration.
        timing: durations.

    """

    def __init__(self, settings: Settings, timing: OutletTiming) -> None:
        self._settings = settings
        self._timing = timing
        self._outlets: dict[str, Outlet] = {}

    @property
    def need_watched(self) -> bool:
        """True if an outlet gets only events of channels that no client watches."""
        return any(outlet.when == "unwatched" for outlet in self._outlets.values())

    def add(self, url: str, events: Iterable[str] | None, when: When, log: Log) -> None:
        """Add an outlet.

        Raises:
            ConfigurationError: the URL, the secret or the log does not fit.

        """
        outlet_keys(self._settings)
        outlet = Outlet.create(url, events, when, private=self._settings.outlet_private)
        if outlet.id in self._outlets:
            raise ConfigurationError(
                f"Two outlets have one URL at {outlet.host}: give one of them all events"
            )
        _require(log)
        self._outlets[outlet.id] = outlet

    def background_work(self, hub: Hub, log: Log, statistics: ServerStatistics) -> Work:
        """Return the work of a started server, by name; none of it ends."""
        if not self._outlets:
            return {}
        work: Work = {"outlets": lambda: self.run(log, statistics)}
        if self.need_watched:
            announcer = WatchAnnouncer(hub, require_folding(log), self._timing)
            work = {**work, "watched channels": announcer.run}
        return work

    async def run(self, log: Log, statistics: ServerStatistics) -> None:
        """Deliver, while this server has the lease; it never ends."""
        listable = _require(log)
        lease = DelivererLease(require_folding(log), self._timing.lease_seconds)
        counts = [OutletCounts() for _ in self._outlets]
        statistics.outlets = counts
        outage = OutageLog(_logger, "outlets wait for the log", "outlets work again")
        while True:
            try:
                if await lease.acquire():
                    _logger.info("this server delivers to the outlets outlets=%d", len(counts))
                    await self._deliver(listable, lease, counts)
            except RealtimeError as error:
                outage.failed(error)
            else:
                outage.works()
            await asyncio.sleep(self._timing.renew_seconds * random.uniform(0.5, 1))  # noqa: S311 -- jitter

    async def _deliver(
        self, log: ListableLog, lease: DelivererLease, counts: Sequence[OutletCounts]
    ) -> None:
        """Deliver until the lease is another server's.

        Raises:
            RealtimeError: the log is unavailable.

        """
        from realtime_bridge.server.outlets.delivery import OutletDelivery
        from realtime_bridge.server.outlets.sender import WebhookSender

        keys, timing = outlet_keys(self._settings), self._timing
        seconds, private = timing.request_seconds, self._settings.outlet_private
        async with WebhookSender(keys, seconds=seconds, private=private) as sender:
            deliveries = [
                OutletDelivery(outlet, log, sender, count, timing)
                for outlet, count in zip(self._outlets.values(), counts, strict=True)
            ]
            try:
                for delivery in deliveries:
                    await delivery.load()
                async with Supervisor() as tasks:
                    for number, delivery in enumerate(deliveries):
                        for worker in range(WORKERS):
                            tasks.run(f"outlet {number} worker {worker}", delivery.work)
                    await self._scan(log, lease, deliveries)
            finally:
                # At a stop the next server shall not wait for the end of the lease.
                with suppress(RealtimeError, TimeoutError):
                    async with asyncio.timeout(1.0):
                        await lease.release()

    async def _scan(
        self, log: ListableLog, lease: DelivererLease, deliveries: Sequence["OutletDelivery"]
    ) -> None:
        """Queue the channels with new events, and renew the lease, until it is lost."""
        renewed = time.monotonic()
        while True:
            # A read of a channel without events would keep it from its expiry.
            names = await backend_call(log, log.channels, stored=True)
            names = [name for name in names if not is_internal(name)]
            for delivery in deliveries:
                delivery.queue.keep(names)
            for start in range(0, len(names), CHANNELS):
                part = names[start : start + CHANNELS]
                tops = await backend_call(log, log.positions, part)
                for delivery in deliveries:
                    delivery.queue.update(tops)
            watched = await watched_digests(require_folding(log)) if self.need_watched else ()
            for delivery in deliveries:
                delivery.watched = frozenset(watched) if delivery.is_unwatched else frozenset()
                delivery.wake()
            await asyncio.sleep(self._timing.scan_seconds)
            if time.monotonic() - renewed >= self._timing.renew_seconds:
                renewed = time.monotonic()
                if not await lease.renew():
                    _logger.info("another server delivers to the outlets")
                    return


def _require(log: Log) -> ListableLog:
    """Return the log, as one whose channels can be listed.

    Raises:
        ConfigurationError: its channels cannot be listed, or aiohttp is missing.

    """
    try:
        import aiohttp  # noqa: F401 -- a check
    except ModuleNotFoundError as error:
        raise ExtraNotInstalledError("An outlet", missing="aiohttp", extra="client") from error
    if not (isinstance(log, ListableLog) and isinstance(log, FoldingLog)):
        raise ConfigurationError(
            f"Outlets need a log that lists its channels, and {log} does not: set REALTIME_LOG to "
            "memory, sqlite, redis or postgres"
        )
    return log
