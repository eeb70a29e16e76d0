"""Tests of failover in a worker that the server and its clients follow."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.testing.providers import LocalPusher
from tests.server.harness import SECRET, Serve, Site, until
from tests.services.redis import RedisServer

WORKER = """
from realtime_bridge import BlockingBroadcaster

with BlockingBroadcaster.from_env() as broadcaster:
    for number in range(6):
        print(broadcaster.publish("job.7", "job.step", number).pushed)
"""

NO_HEARTBEATS = ServerTiming(session=SessionTiming(heartbeat=600.0))


@pytest_asyncio.fixture
async def pusher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[LocalPusher]:
    with RedisServer(tmp_path / "redis", "--save", "") as redis:
        async with LocalPusher() as pusher:
            variables = {
                "REALTIME_REDIS_URL": redis.url,
                "REALTIME_SECRET": SECRET,
                "REALTIME_FAILOVER": "websocket",
            }
            for name, value in (pusher.environment | variables).items():
                monkeypatch.setenv(name, value)
            yield pusher


async def publish_six() -> list[str]:
    """Publish six events from another process, and return the `pushed` of each receipt."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER), env=os.environ, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode().split()


async def provider(site: Site) -> object:
    _, answer = await site.post("connect", {}, authorization=f"Bearer {site.token()}")
    return answer["provider"]


async def test_failover_of_a_worker_reaches_server_and_clients(
    pusher: LocalPusher, serve: Serve
) -> None:
    site = await serve(backend="pusher", failover=("websocket",), timing=NO_HEARTBEATS)
    await until(lambda: site.context.status.generation)
    before = site.context.status.generation
    assert await provider(site) == "pusher"
    assert await publish_six() == ["True"] * 6
    pusher.faults.status = 500
    assert await publish_six() == ["False"] * 4 + ["True"] * 2
    await until(lambda: site.context.status.generation > before)
    assert await provider(site) == "websocket"
    client = await site.connect()
    assert (await client.subscribe("job.7"))["offset"] == 12
    assert await publish_six() == ["True"] * 6
    assert [event["data"] for event in await client.events(6)] == list(range(6))
