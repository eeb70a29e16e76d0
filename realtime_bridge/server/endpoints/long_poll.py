"""Client whose poll waits for news."""

import asyncio
from collections.abc import Sequence

from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge.server.registry import RegisteredClient


class LongPoll(Subscriber, RegisteredClient):
    """Subscriber that ends a long poll's wait on any event, reset, status or close."""

    transport = "poll"

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:  # noqa: ARG002
        """End the wait."""
        self._changed.set()
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        """Do nothing: the poll reads the log itself."""

    def reset(self, channel: str, reset: Reset) -> None:  # noqa: ARG002
        """End the wait."""
        self._changed.set()

    def notify(self, message: bytes) -> None:  # noqa: ARG002
        """End the wait."""
        self._changed.set()

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002
        """End the wait."""
        self._changed.set()

    def revoke(self, user: str | None, channel: str | None) -> None:  # noqa: ARG002
        """End the wait."""
        self._changed.set()

    def hasten_heartbeat(self, within: float) -> None:  # noqa: ARG002
        """End the wait."""
        self._changed.set()

    async def wait(self, seconds: float) -> None:
        """Wait until something changed, at most this long."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
