"""Tests of the `status` message on an outage of the log or its feed."""

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.server.fanout import hub as module
from realtime_bridge.server.fanout.hub import Hub
from tests.server.fakes import FakeFeed, SlowLog
from tests.server.harness import Serve, Site, made, until

DOWN, UP = {"log": "down", "backend": "ok"}, {"log": "ok", "backend": "ok"}


@pytest.fixture
def log() -> SlowLog:
    return SlowLog()


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
async def site(serve: Serve, log: SlowLog, feed: FakeFeed, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.005)
    bridge = made()
    bridge._feed = feed
    bridge._engine.log = log
    return await serve(bridge)


async def interrupt(hub: Hub, log: SlowLog, feed: FakeFeed) -> None:
    log.fails = BackendUnavailableError("It is away")
    feed.announce(FeedInterrupted())
    await until(lambda: not hub.healthy)


async def test_status_reports_log_outage_and_recovery(
    site: Site, log: SlowLog, feed: FakeFeed
) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    await interrupt(site.engine.hub, log, feed)
    assert await client.expect("status") == {"type": "status"} | DOWN
    log.fails = None
    assert await client.expect("status") == {"type": "status"} | UP


async def test_new_client_gets_the_status_after_its_welcome(
    site: Site, log: SlowLog, feed: FakeFeed
) -> None:
    await (await site.connect()).subscribe("job.7")
    await interrupt(site.engine.hub, log, feed)
    late_client = await site.connect()
    assert (await late_client.expect("status"))["log"] == "down"
    log.fails = None
    assert (await late_client.expect("status"))["log"] == "ok"


async def test_status_reports_feed_outage_and_recovery(site: Site, feed: FakeFeed) -> None:
    client = await site.connect()
    feed.announce(ConnectionResetError("the feed is gone"))
    assert (await client.expect("status"))["log"] == "down"
    assert (await client.expect("status"))["log"] == "ok"


async def test_poll_has_the_same_status_as_sockets(site: Site) -> None:
    assert (await site.poll({}))[1]["status"] == UP
