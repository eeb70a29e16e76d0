"""Follower of the failover's choice: clients reconnect when the backend in use changes."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import orjson

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.publishing.failover import CHANNEL, Failover
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge.server.lifecycle.status import ServerStatus

_logger = logging.getLogger("realtime_bridge.server")


class FailoverFollower(Subscriber):
    """Subscriber of the channel on which processes announce the backend in use.

    Args:
        failover: the backends of this process.
        hub: the hub of this process.
        status: the status, whose generation grows with each change.
        retry: the seconds until a log that does not answer is asked again.
        changed: called when the generation has grown.

    """

    def __init__(
        self,
        failover: Failover,
        hub: Hub,
        status: ServerStatus,
        *,
        retry: float,
        changed: Callable[[], None],
    ) -> None:
        self._failover = failover
        self._hub = hub
        self._status = status
        self._retry = retry
        self._report = changed
        self._changed = asyncio.Event()
        self._outage = OutageLog(
            _logger,
            "backend changes are not followed",
            "backend changes are followed",
        )

    async def run(self) -> None:
        """Use the backend that all processes use, now and after each change."""
        while True:
            try:
                # Subscribing comes first, so that no change falls between the two.
                await self._hub.subscribe(self, ChannelSubscription(CHANNEL), None)
                await self._failover.sync_active()
                self._outage.works()
                await self._follow()
            except RealtimeError as error:
                self._outage.failed(error)
                await asyncio.sleep(self._retry)

    async def _follow(self) -> None:
        while True:
            before = self._status.generation
            await self._status.wait_for_generation(self._retry)
            if self._status.generation != before:
                self._report()
            await self._changed.wait()
            self._changed.clear()

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:  # noqa: ARG002
        """Switch to the backend that was announced."""
        fields = orjson.loads(messages[-1])
        record = Event.from_trusted(
            CHANNEL,
            fields["event"],
            orjson.dumps(fields["data"]),
            id=fields["id"],
            key=fields.get("key"),
            source=None,
            time=fields["time"],
            position=Position.from_json(fields),
        )
        self._failover.switch_to(record)
        self._changed.set()
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        """Ignore the history: it is read from the log."""

    def reset(self, channel: str, reset: Reset) -> None:  # noqa: ARG002
        """Read the generation again: a change may have been missed."""
        self._changed.set()
