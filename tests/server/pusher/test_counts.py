"""Counts of subscriptions over all nodes of a cluster."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeBackend
from tests.server.harness import FAST, TIMEOUT, Serve, Site, Sites, make_bridge
from tests.server.pusher.clients import connect_pusher, sdk_of

INFO = ["subscription_count"]


@pytest.fixture
async def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Site]]:
    """Start two servers that share a log in one file."""
    monkeypatch.setenv("REALTIME_SQLITE_PATH", str(tmp_path / "log.db"))
    options: dict[str, Any] = {"backend": "sqlite"}
    async with Sites(FAST) as sites:
        timing = ServerTiming(presence_lease=1, presence_renewal=0.3, position_check=0.2)
        yield [
            await sites.start(make_bridge(pusher_door=True, timing=timing, **options))
            for _ in range(2)
        ]


async def all_count(nodes: list[Site], expected: dict[str, int]) -> None:
    """Wait until each node has these counts."""
    channels = {name: {"subscription_count": count} for name, count in expected.items()}
    async with asyncio.timeout(TIMEOUT):
        for node in nodes:
            sdk = sdk_of(node.origin)
            while await sdk.channels_info("", INFO) != {"channels": channels}:
                pass


async def test_counts_are_those_of_all_nodes(nodes: list[Site]) -> None:
    first, second = [await connect_pusher(node) for node in nodes]
    for client in (first, second):
        await client.subscribe("news")
        await client.subscribe("private-a")
    await second.subscribe("other")
    await all_count(nodes, {"news": 2, "other": 1, "private-a": 2})
    one = await sdk_of(nodes[0].origin).channel_info("other", INFO)
    assert one == {"occupied": True, "subscription_count": 1}
    await second.send("pusher:unsubscribe", {"channel": "other"})
    await second.send("pusher:unsubscribe", {"channel": "news"})
    await all_count(nodes, {"news": 1, "private-a": 2})
    assert await sdk_of(nodes[0].origin).channels_info("private-") == {
        "channels": {"private-a": {}}
    }


async def test_counts_of_a_node_end_with_it(nodes: list[Site]) -> None:
    client = await connect_pusher(nodes[0])
    await client.subscribe("news")
    await all_count(nodes, {"news": 1})
    await nodes[0].bridge.__aexit__(None, None, None)
    await all_count(nodes[1:], {})


async def test_counts_are_of_one_process_without_owned_keys(serve: Serve) -> None:
    site = await serve(make_bridge(pusher_door=True, with_log=FakeBackend()))
    client = await connect_pusher(site)
    await client.subscribe("news")
    await all_count([site], {"news": 1})


async def test_counts_fail_while_the_log_does_not_answer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await serve(pusher_door=True, timing=ServerTiming(start=0.2, restart=0.02))

    async def fail(*_: object, **__: object) -> None:
        raise BackendUnavailableError("down")

    with monkeypatch.context() as patch:
        patch.setattr(type(site.context.pipeline.log), "latest", fail)
        with pytest.raises(Exception, match="503"):
            await sdk_of(site.origin).channels_info()
    await all_count([site], {})
