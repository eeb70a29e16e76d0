"""Hubs on fakes of a log and a feed, and a subscriber of theirs."""

import pytest

from realtime_bridge.model.position import Position
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import Recorder

CHANNEL = "job.7"

FREQUENT_CHECKS = ServerTiming(position_check=0.005, announcement=0.001, restart=0.005, quiet=0.05)
frequent_checks = pytest.mark.parametrize("timing", [FREQUENT_CHECKS], ids=["frequent"])


async def joined(hub: Hub, after: Position | None = None, channel: str = CHANNEL) -> Recorder:
    recorder = Recorder()
    recorder.here = after
    await recorder.subscribe(hub, channel, after)
    return recorder
