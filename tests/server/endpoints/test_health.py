"""Health endpoints: live, ready, and a report without names."""

import asyncio

from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeBackend
from tests.server.harness import Frame, Serve, Site, until


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


async def test_server_without_its_feed_is_live_and_not_ready(serve: Serve) -> None:
    feed = FakeBackend()
    site = await serve(with_log=feed, timing=ServerTiming(restart=0.01))
    assert (await get(site, "health/ready"))[0] == 200
    back = asyncio.Event()
    feed.pause = back.wait  # type: ignore[assignment]  # what it returns does not matter
    feed.announce(OSError("the network is down"))
    await until(lambda: not site.context.hub.ready)
    assert await get(site, "health/ready") == (503, {"status": "not ready"})
    assert (await get(site, "health/live"))[0] == 200
    assert (await get(site, "health"))[1]["status"] == "not ready"
    back.set()
    await site.context.hub.wait_until_ready(10)
    assert (await get(site, "health/ready"))[0] == 200


async def test_server_starts_without_a_feed_that_never_connects(serve: Serve) -> None:
    feed = FakeBackend()
    never = asyncio.Event()
    feed.pause = never.wait  # type: ignore[assignment]  # what it returns does not matter
    site = await serve(with_log=feed, timing=ServerTiming(start=0.01))
    assert (await get(site, "health/ready"))[0] == 503
    assert (await get(site, "health/live"))[0] == 200
