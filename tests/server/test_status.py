"""ConnectionRegistry are told when what we push to them may not be all there is."""

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


async def test_it_says_so_when_the_log_does_not_answer_and_when_it_does_again(
    site: Site, log: SlowLog, feed: FakeFeed
) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    await interrupt(site.engine.hub, log, feed)
    assert await client.expect("status") == {"type": "status"} | DOWN
    log.fails = None
    assert await client.expect("status") == {"type": "status"} | UP


async def test_who_comes_meanwhile_is_told_after_the_welcome(
    site: Site, log: SlowLog, feed: FakeFeed
) -> None:
    await (await site.connect()).subscribe("job.7")
    await interrupt(site.engine.hub, log, feed)
    late = await site.connect()
    assert (await late.expect("status"))["log"] == "down"
    log.fails = None
    assert (await late.expect("status"))["log"] == "ok"


async def test_a_feed_that_breaks_is_said_too(site: Site, feed: FakeFeed) -> None:
    client = await site.connect()
    feed.announce(ConnectionResetError("the feed is gone"))
    assert (await client.expect("status"))["log"] == "down"
    assert (await client.expect("status"))["log"] == "ok"


async def test_polls_say_what_sockets_do(site: Site) -> None:
    assert (await site.poll({}))[1]["status"] == UP
