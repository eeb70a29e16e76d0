"""Fixtures of a hub on fakes of a log and a feed."""

from collections.abc import AsyncIterator

import pytest

from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeFeed, SlowLog, running_hub


@pytest.fixture
def log() -> SlowLog:
    return SlowLog()


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
async def hub(log: SlowLog, feed: FakeFeed, timing: ServerTiming) -> AsyncIterator[Hub]:
    async with running_hub(log, feed, timing) as hub:
        yield hub


@pytest.fixture
def timing() -> ServerTiming:
    return ServerTiming()
