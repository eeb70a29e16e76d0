"""Reader of a subscriber's history, from a log that has all that was announced."""

import asyncio
from collections.abc import Callable

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Log
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout.channel_fanout import ChannelFanout
from realtime_bridge.server.fanout.positions import contradicts
from realtime_bridge.server.fanout.subscriber import Subscriber


class HistoryReader:
    """Reader of the events that one subscriber missed.

    Args:
        log: the log.
        recover: begins the recovery of a channel from the log.
        wait: the seconds to wait for a recovery.

    """

    def __init__(self, log: Log, recover: Callable[[ChannelFanout], None], *, wait: float) -> None:
        self._log = log
        self._recover = recover
        self._wait = wait

    async def read(
        self,
        fanout: ChannelFanout,
        subscriber: Subscriber,
        subscription: ChannelSubscription,
        after: Position,
    ) -> Page | Reset:
        """Return the events after a position, or a reset.

        Raises:
            RealtimeError: the feed is not connected, or the log cannot be read.

        """
        while True:
            announced = fanout.position
            answer = await backend_call(self._log, self._log.read, fanout.channel, after)
            is_current = fanout.reading_history.get(subscriber) is subscription
            if not is_current or not contradicts(answer, announced):
                return answer
            # The log was rolled back: announced events would continue another history than this
            # answer. The recovery begins a new epoch.
            self._recover(fanout)
            await asyncio.sleep(self._wait)
            if fanout.reading_history.get(subscriber) is subscription:
                fanout.start_reading(subscriber, subscription)
