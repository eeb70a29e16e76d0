"""Which carrier is in use, as this server hears of it: its clients move over when that changes."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.wire import messages as wire
from realtime_bridge.publishing.failover import CHANNEL, Failover
from realtime_bridge.server.fanout.channel_fanout import Subscriber

if TYPE_CHECKING:
    from realtime_bridge.server.context import ServerContext

AGAIN_SECONDS = 1.0


class Delivery(Subscriber):
    """Follows the channel on which moves are written down.

    Args:
        engine: whose generation grows with each move.
        failover: what pushes here.

    """

    def __init__(self, engine: "ServerContext", failover: Failover) -> None:
        self._engine = engine
        self._failover = failover
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Be in step with all others, now and whenever somebody moves."""
        while True:
            try:
                await self._engine.hub.join(self, CHANNEL, None)
                await self._failover.sync_active()
                await self._follow()
            except RealtimeError:
                await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self) -> None:
        while True:
            await self._engine.learn_generation()
            await self._moved.wait()
            self._moved.clear()

    def deliver(self, channel: str, frames: Sequence[bytes]) -> bool:  # noqa: ARG002
        """Move over with the others."""
        self._failover.switch_to(wire.decode_event(orjson.loads(frames[-1])))
        self._moved.set()
        return True

    def subscribed(self, channel: str, page: Page, *, recovered: bool) -> None:
        """Go on: what was written before is read from the log."""

    def reset(self, channel: str, reset: Reset) -> None:  # noqa: ARG002
        """Tell the next generation from this one even so."""
        self._moved.set()
