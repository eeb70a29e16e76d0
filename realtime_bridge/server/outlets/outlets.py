"""Outlets of a bridge: one server of several delivers to all of them."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.log import FoldingLog, Log, require_folding
from realtime_bridge.errors import ConfigurationError, ExtraNotInstalledError
from realtime_bridge.model.channel import is_internal
from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.outlets.deliverer import Deliverer
from realtime_bridge.server.outlets.lease import DelivererLease
from realtime_bridge.server.outlets.outlet import Outlet, When, outlet_keys
from realtime_bridge.server.outlets.watched import WatchAnnouncer, watched_digests
from realtime_bridge.server.statistics import ServerStatistics
from realtime_bridge.settings import Settings

Work = dict[str, Callable[[], Coroutine[Any, Any, None]]]

if TYPE_CHECKING:
    from realtime_bridge.server.outlets.delivery import OutletDelivery

CHANNELS = 500
"""Channels whose positions are read at once."""


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
        require_listable(log)
        self._outlets[outlet.id] = outlet

    def background_work(self, hub: Hub, log: Log, statistics: ServerStatistics) -> Work:
        """Return the work of a started server, by name; none of it ends."""
        if not self._outlets:
            return {}
        work: Work = {"outlets": self._deliverer(log, statistics).run}
        if self.need_watched:
            announcer = WatchAnnouncer(hub, require_folding(log), self._timing)
            work = {**work, "watched channels": announcer.run}
        return work

    def _deliverer(self, log: Log, statistics: ServerStatistics) -> Deliverer:
        from realtime_bridge.server.outlets.sender import standard_webhook

        listable, timing, outlets = require_listable(log), self._timing, [*self._outlets.values()]
        lease = DelivererLease(require_folding(log), timing.lease_seconds)
        scan = _Scan(listable, need_watched=self.need_watched)
        sign, private = standard_webhook(outlet_keys(self._settings)), self._settings.outlet_private
        deliverer = Deliverer(outlets, listable, lease, scan, sign, timing, private=private)
        statistics.outlets = [*statistics.outlets, *deliverer.counts]
        return deliverer


class _Scan:
    """Comparison of all channels of the log with what is delivered.

    Args:
        log: the log.
        need_watched: whether an outlet needs the channels that clients watch.

    """

    def __init__(self, log: ListableLog, *, need_watched: bool) -> None:
        self._log = log
        self._need_watched = need_watched

    async def begin(self) -> None:
        """Do nothing: each run compares all."""

    def end(self) -> None:
        """Do nothing."""

    async def run(self, deliveries: Sequence["OutletDelivery"]) -> None:
        """Queue the channels with new events."""
        log = self._log
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
        watched = await watched_digests(require_folding(log)) if self._need_watched else ()
        for delivery in deliveries:
            delivery.watched = frozenset(watched) if delivery.is_unwatched else frozenset()


def require_listable(log: Log) -> ListableLog:
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
