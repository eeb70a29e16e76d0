"""Tests of liveness, readiness and the health report."""

import asyncio

import pytest

from realtime_bridge.server import bridge as module
from realtime_bridge.server.fanout import hub as hub_module
from tests.server.fakes import FakeFeed, SlowLog
from tests.server.harness import Frame, Serve, Site, made, until


async def get(site: Site, route: str) -> tuple[int, Frame]:
    async with site.http.get(f"{site.url}/{route}") as answer:
        return answer.status, await answer.json()


async def test_running_server_is_live_and_ready(site: Site) -> None:
    assert await get(site, "health/live") == (200, {"status": "ok"})
    assert await get(site, "health/ready") == (200, {"status": "ok"})


async def test_report_has_counts_without_names(site: Site) -> None:
    ann, bob = await site.connect("ann"), await site.connect("bob")
    await ann.subscribe("job.7")
    await bob.subscribe("job.7")
    await (await site.connect("ann")).ping()
    status, report = await get(site, "health")
    assert (status, report) == (
        200,
        {"status": "ok", "log": "the memory log", "connections": 3, "users": 2, "channels": 1},
    )


class _Feed(SlowLog, FakeFeed):
    """Log with a feed that a test can interrupt."""

    remote_access_via = None

    def __init__(self) -> None:
        SlowLog.__init__(self)
        FakeFeed.__init__(self)


async def test_server_without_feed_is_live_but_not_ready(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = _Feed()
    bridge = made()
    bridge._feed = bridge._engine.log = feed
    site = await serve(bridge)
    assert (await get(site, "health/ready"))[0] == 200
    monkeypatch.setattr(hub_module, "RESTART_SECONDS", 0.01)
    back = asyncio.Event()
    feed.pause = back.wait  # type: ignore[assignment]  # what it returns does not matter
    feed.announce(OSError("the network is down"))
    await until(lambda: not site.engine.hub.ready)
    assert await get(site, "health/ready") == (503, {"status": "not ready"})
    assert (await get(site, "health/live"))[0] == 200
    assert (await get(site, "health"))[1]["status"] == "not ready"
    back.set()
    await site.engine.hub.wait_until_ready(10)
    assert (await get(site, "health/ready"))[0] == 200


async def test_server_starts_while_the_feed_is_unavailable(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.01)
    feed = _Feed()
    never = asyncio.Event()
    feed.pause = never.wait  # type: ignore[assignment]  # what it returns does not matter
    bridge = made()
    bridge._feed = bridge._engine.log = feed
    site = await serve(bridge)
    assert (await get(site, "health/ready"))[0] == 503
    assert (await get(site, "health/live"))[0] == 200
