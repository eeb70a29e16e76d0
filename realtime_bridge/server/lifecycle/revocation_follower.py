"""Follower of revocations: connected clients lose what any server revokes."""

import asyncio
import logging
from collections.abc import Sequence

import orjson

from realtime_bridge.backend.log import Log
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.auth.revocations import Revocations
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge.server.registry import ConnectionRegistry

_logger = logging.getLogger("realtime_bridge.server")


class RevocationFollower(Subscriber):
    """Subscriber of the channel on which servers announce revocations.

    Args:
        revocations: the revocations that this process has received.
        log: the log that has the earlier ones.
        hub: the hub of this process.
        registry: the clients of this process.
        retry: the seconds until a log that does not answer is asked again.

    """

    def __init__(
        self,
        revocations: Revocations,
        log: Log,
        hub: Hub,
        registry: ConnectionRegistry,
        *,
        retry: float,
    ) -> None:
        self._revocations = revocations
        self._log = log
        self._hub = hub
        self._registry = registry
        self._retry = retry
        self._has_gap = asyncio.Event()
        self._outage = OutageLog(
            _logger, "revocations of other servers are not followed", "revocations are followed"
        )

    async def run(self) -> None:
        """Subscribe, then read the revocations from before; read again after each gap."""
        while True:
            self._has_gap.clear()
            try:
                # Subscribing comes first, so that no revocation falls between the two.
                await self._hub.subscribe(self, ChannelSubscription(CONTROL), None)
                for revocation in await self._revocations.read(self._log):
                    self._registry.revoke(revocation.user, revocation.channel)
            except RealtimeError as error:
                self._outage.failed(error)
                await asyncio.sleep(self._retry)
            else:
                self._outage.works()
                await self._has_gap.wait()

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:  # noqa: ARG002
        """Revoke access of the connected clients."""
        for message in messages:
            event = orjson.loads(message)
            if revocation := self._revocations.add_event(event["data"], event["time"]):
                self._registry.revoke(revocation.user, revocation.channel)
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        """Ignore the history: it is read from the log."""

    def reset(self, channel: str, reset: Reset) -> None:  # noqa: ARG002
        """Read the revocations again: some may have been missed."""
        self._has_gap.set()
