"""Outlets that get the events of channels that no client watches."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge import ConfigurationError
from realtime_bridge.backend.log import FoldingLog, Log
from realtime_bridge.model.key_write import MIN_LEASE
from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.publishing.pipeline import PublishPipeline
from realtime_bridge.server import Bridge
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.outlets.watched import WatchAnnouncer, digest, watched_digests
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.pusher import PusherBackend
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.server.harness import FAST, Site, Sites, make_bridge, make_settings, until
from tests.server.outlets.target import SECRET, Target

TIMING = OutletTiming(
    scan_seconds=0.05, watch_seconds=0.05, poll_seconds=0.3, settle_seconds=0.4, retry_seconds=0.02
)
OPTIONS: dict[str, Any] = {
    "outlet_secret": SECRET,
    "outlet_private": True,
    "timing": ServerTiming(outlets=TIMING),
}


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with Target() as one:
        yield one


@pytest.fixture
async def sites() -> AsyncIterator[Sites]:
    async with Sites(FAST) as sites:
        yield sites


async def open_site(sites: Sites, target: Target, log: Log) -> Site:
    bridge = make_bridge(with_log=log, **OPTIONS)
    bridge.outlet(target.url, when="unwatched")
    return await sites.start(bridge)


async def until_watched(log: FoldingLog, channel: str, *, watched: bool = True) -> None:
    async with asyncio.timeout(10):
        while (digest(channel) in await watched_digests(log)) != watched:  # noqa: ASYNC110 -- no event reports it
            await asyncio.sleep(0.01)


async def test_watched_channel_is_not_delivered_at_any_server(
    sites: Sites, target: Target, tmp_path: Path
) -> None:
    """The servers share a log; one has the watching client, either delivers."""
    logs = [SQLiteBackend(tmp_path / "log.db") for _ in range(2)]
    first, second = [await open_site(sites, target, log) for log in logs]
    clients = [await site.connect() for site in (first, second)]
    for client, channel in zip(clients, ("job.1", "job.2"), strict=True):
        await client.subscribe(channel)
        await until_watched(logs[0], channel)
    for number in range(10):
        for channel in ("job.1", "job.2", "job.3"):
            await first.bridge.publish(channel, "counted", number)
    await target.until_accepted(10)
    await clients[0].send("unsubscribe", channel="job.1")
    await until_watched(logs[0], "job.1", watched=False)
    await second.bridge.publish("job.1", "counted", "last")
    await target.until_accepted(11)
    assert target.data() == {"job.3": list(range(10)), "job.1": ["last"]}


async def test_poll_counts_as_watching_for_a_time(sites: Sites, target: Target) -> None:
    log = MemoryBackend()
    site = await open_site(sites, target, log)
    await until(lambda: site.context.hub.polled is not None)
    await site.poll({"job.1": None})
    await until_watched(log, "job.1")
    await until_watched(log, "job.1", watched=False)
    assert site.context.hub.polled == {}


async def test_outlet_for_all_events_gets_those_of_watched_channels(
    sites: Sites, target: Target
) -> None:
    log = MemoryBackend()
    async with Target() as other:
        bridge = make_bridge(with_log=log, **OPTIONS)
        bridge.outlet(target.url, when="unwatched")
        bridge.outlet(other.url, events=["counted"])
        site = await sites.start(bridge)
        client = await site.connect()
        await client.subscribe("job.1")
        await until_watched(log, "job.1")
        await site.bridge.publish("job.1", "counted", 1)
        await site.bridge.publish("job.2", "counted", 2)
        await target.until_accepted(1)
        await other.until_accepted(2)
    assert target.data() == {"job.2": [2]}


async def test_channels_of_a_killed_server_are_not_watched() -> None:
    now = 1_000.0
    async with MemoryBackend(clock=lambda: now) as log:
        hub = Hub(log, log)
        hub.polled = {"job.1": time.monotonic() + 60}
        announcer = WatchAnnouncer(hub, log, TIMING)
        await announcer.announce()
        now += MIN_LEASE - 1
        await announcer.announce()  # the same channels: it renews the lease
        now += MIN_LEASE - 1
        assert await watched_digests(log) == {digest("job.1")}
        now += MIN_LEASE + 1
        assert await watched_digests(log) == frozenset()
        await announcer.announce()  # it was silent, and is back
        assert await watched_digests(log) == {digest("job.1")}


def test_default_times_outlast_the_lease_of_a_killed_server() -> None:
    timing = OutletTiming()
    delays = timing.watch_seconds + 2 * timing.scan_seconds
    assert timing.settle_seconds > MIN_LEASE + delays


def test_unwatched_events_need_connections_of_our_own() -> None:
    push = PublishPipeline(log=MemoryBackend(), backend=PusherBackend("1", "key", "secret"))
    bridge = Bridge(make_settings(outlet_secret=SECRET), pipeline=push)
    with pytest.raises(ConfigurationError, match="A hosted provider has the connections"):
        bridge.outlet("https://example.com", when="unwatched")
    with pytest.raises(ConfigurationError, match="Bad when 'never'"):
        bridge.outlet("https://example.com", when="never")  # type: ignore[arg-type]
