"""Recovery of channels from the log, where the feed has a gap."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.server.fanout.channel_fanout import ChannelFanout
from realtime_bridge.server.fanout.channel_opener import MAX_CHANNELS
from realtime_bridge.server.timing import ServerTiming

_logger = logging.getLogger("realtime_bridge.server")


class Recovery:
    """Reader of the log for a hub; it fills the gaps of one channel at a time.

    Args:
        log: the log.
        timing: the durations of the server.

    """

    def __init__(self, log: Log, timing: ServerTiming) -> None:
        self.started: int = 0
        self.events: int = 0
        self.resets: int = 0
        """Number of recoveries, of events fanned out by them, and of gaps that remain."""
        self._log = log
        self._timing = timing
        self._failed = asyncio.Event()
        self.outage: OutageLog = OutageLog(
            _logger, "log unavailable", "log available", quiet=timing.quiet
        )
        """Reporter of everything that fails because of the log: requests, checks, recoveries."""

    async def tops(self, channels: Sequence[str]) -> dict[str, Position]:
        """Return the log's position of each channel.

        Raises:
            RealtimeError: the log cannot be read.

        """
        tops: dict[str, Position] = {}
        for start in range(0, len(channels), MAX_CHANNELS):
            batch = channels[start : start + MAX_CHANNELS]
            tops |= await backend_call(self._log, self._log.positions, batch)
        return tops

    async def wait_for_failure(self, seconds: float) -> None:
        """Wait until a page of a recovery cannot be read, at most this long."""
        self._failed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._failed.wait(), seconds)

    def start(self, fanout: ChannelFanout, tasks: Supervisor) -> None:
        """Start to read a channel up to the log's top, unless that runs already."""
        if not fanout.recovering:
            fanout.recovering = True
            tasks.spawn("recovery", self._run(fanout))

    async def _run(self, fanout: ChannelFanout) -> None:
        _logger.debug("recovering: channel=%s from=%s", fanout.channel, fanout.position)
        self.started += 1
        try:
            while await self._try_read_page(fanout):
                pass
        finally:
            # Also if this task is cancelled: the next check of positions then begins again.
            fanout.recovering = False

    async def _try_read_page(self, fanout: ChannelFanout) -> bool:
        """Read a page, and return whether there is more; after a failure, wait and return True."""
        try:
            return await self._read_page(fanout)
        except Exception as error:
            self.outage.failed(error, work="recovery", channel=fanout.channel)
            self._failed.set()
            await asyncio.sleep(self._timing.restart)
            return True

    async def _read_page(self, fanout: ChannelFanout) -> bool:
        # An announcement that arrives during the read may be past the page: the loop reads again.
        fanout.missed = False
        here = fanout.position
        answer = await backend_call(self._log, self._log.read, fanout.channel, here)
        if isinstance(answer, Reset):
            self.resets += 1
            fanout.reset(await self._rotate_if_rolled_back(fanout.channel, answer, here))
            return fanout.missed
        self.events += len(answer.events)
        fanout.fan_out(answer.events)
        return answer.more or fanout.missed

    async def _rotate_if_rolled_back(self, channel: str, answer: Reset, here: Position) -> Reset:
        """Rotate the epoch of a log that lost events which were announced here.

        The events that the log has at their offsets must never follow what clients received.
        """
        if answer.top.epoch != here.epoch or answer.reason not in ("ahead", "regressed"):
            return answer
        _logger.warning("the log lost delivered events, rotating the epoch: channel=%s", channel)
        top = await backend_call(self._log, self._log.rotate_epoch, channel, here.epoch)
        return Reset(reason="regressed", top=top)
