"""Webhooks of Pusher about channels and members, which one server of several sends."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from msgspec.structs import replace

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.log import Log, require_folding
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.pusher.names import MEMBERS
from realtime_bridge.protocol.pusher.webhooks import (
    EVENT,
    PARTS,
    ReportedFacts,
    encode_webhook,
    keep_alive,
    part_channel,
    sign_webhook,
)
from realtime_bridge.server.outlets.deliverer import Deliverer
from realtime_bridge.server.outlets.lease import DelivererLease
from realtime_bridge.server.outlets.outlet import Outlet
from realtime_bridge.server.outlets.outlets import Work, require_listable
from realtime_bridge.server.pusher.door import PusherServices
from realtime_bridge.server.pusher.rooms import PresenceRoom
from realtime_bridge.server.state_follower import read_latest
from realtime_bridge.settings import Settings

if TYPE_CHECKING:
    from realtime_bridge.server.outlets.delivery import OutletDelivery
    from realtime_bridge.server.outlets.sender import SignedRequest

LEASE = f"{CONTROL}.pusher.webhooks"

GIVE_UP_SECONDS = 300.0
"""Age at which a webhook that fails is given up, as at Pusher (docs, webhooks)."""

CHANGES = 100
"""Changes of one append."""

_logger = logging.getLogger("realtime_bridge.outlets")


class PusherWebhooks:
    """Webhooks of one run of a server.

    Args:
        services: the parts of the server.
        log: the log that all servers share.
        settings: the configuration, with the URLs.

    Raises:
        ConfigurationError: a URL or the log does not fit.

    """

    def __init__(self, services: PusherServices, log: Log, settings: Settings) -> None:
        self._services = services
        self._settings = settings
        self._log = log
        outlets = [
            Outlet.create(url, [EVENT], "always", private=settings.outlet_private, kind="pusher ")
            for url in settings.pusher_door_webhooks
        ]
        self._outlets = {outlet.id: outlet for outlet in outlets}
        if outlets:
            require_listable(log)

    def background_work(self) -> Work:
        """Return the work of a started server, by name; it does not end."""
        if not self._outlets:
            return {}
        log, services = require_listable(self._log), self._services
        timing = replace(services.timing.outlets, give_up_seconds=GIVE_UP_SECONDS)
        lease = DelivererLease(require_folding(log), timing.lease_seconds, LEASE)
        scan = PusherScan(log, services, keep_seconds=self._settings.history_seconds / 3)
        outlets, private = [*self._outlets.values()], self._settings.outlet_private
        deliverer = Deliverer(outlets, log, lease, scan, self._sign, timing, private=private)
        services.statistics.outlets = [*services.statistics.outlets, *deliverer.counts]
        return {"webhooks of Pusher": deliverer.run}

    def _sign(self, event: Event) -> "SignedRequest":
        from realtime_bridge.server.outlets.sender import SignedRequest

        body = encode_webhook(event)
        return SignedRequest(body, sign_webhook(self._services.door.app, body))


class PusherScan:
    """Comparison of the channels and members of all servers with what webhooks have reported.

    Args:
        log: the log, which keeps what is reported.
        services: the parts of the server.
        keep_seconds: interval at which what is reported is kept from its expiry.

    """

    def __init__(self, log: ListableLog, services: PusherServices, *, keep_seconds: float) -> None:
        self._log = log
        self._services = services
        self._keep_seconds = keep_seconds
        self._reported = ReportedFacts(services.door.timing.vacant)
        self._used: set[str] = set()
        """Channels of the log that have events."""
        self._kept_at = 0.0
        self._rooms: dict[str, PresenceRoom] = {}

    async def begin(self) -> None:
        """Read what any server has reported."""
        self._reported = ReportedFacts(self._services.door.timing.vacant)
        for part in range(PARTS):
            page = await read_latest(self._log, part_channel(part))
            self._reported.load(part, page.events)
            if page.top.offset:
                self._used.add(part_channel(part))
        self._kept_at = time.monotonic()

    async def run(self, deliveries: Sequence["OutletDelivery"]) -> None:
        """Store what changed, and queue it for delivery."""
        reported, log = self._reported, self._log
        was_unreported = reported.unreported
        occupied = (await self._services.counts.read()).keys()
        members = await self._members({*occupied, *reported.channels})
        changes = iter(reported.changes(occupied, members, time.monotonic()))
        while batch := list(islice(changes, CHANGES)):
            # An error ends the term: the next one reads again what is stored.
            await backend_call(log, log.append, [change.event for change in batch])
            for change in batch:
                reported.settle(change)
                self._used.add(part_channel(change.part))
        if reported.unreported and not was_unreported:
            _logger.warning(
                "no webhooks about some channels and members: count=%d", reported.unreported
            )
        await self._keep()
        if self._used:
            tops = await backend_call(log, log.positions, sorted(self._used))
            for delivery in deliveries:
                delivery.queue.update(tops)

    def end(self) -> None:
        """Follow no presence channel any more."""
        for name in self._rooms:
            self._services.rooms.leave(name, self)
        self._rooms.clear()

    def send_change(self, frame: bytes) -> None:
        """Do nothing: the members are compared as a whole."""

    async def _members(self, channels: Collection[str]) -> dict[str, Collection[str]]:
        """Return the users of presence channels."""
        names = {name for name in channels if name.startswith(MEMBERS)}
        for name in self._rooms.keys() - names:
            del self._rooms[name]
            self._services.rooms.leave(name, self)
        for name in sorted(names - self._rooms.keys()):
            self._rooms[name] = self._services.rooms.join(name, self)
        try:
            async with asyncio.timeout(self._services.timing.start):
                for room in self._rooms.values():
                    await room.wait_loaded()
        except TimeoutError:
            raise BackendUnavailableError("The log does not answer: ask again later") from None
        return {name: room.users for name, room in self._rooms.items()}

    async def _keep(self) -> None:
        """Keep what is reported from its expiry, which follows the last event of a channel."""
        if time.monotonic() - self._kept_at >= self._keep_seconds:
            self._kept_at = time.monotonic()
            if events := [keep_alive(part) for part in self._reported.parts]:
                await backend_call(self._log, self._log.append, events)
