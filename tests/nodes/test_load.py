"""Many nodes, workers and clients on one Redis, and something breaks: nothing lost, or twice."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from realtime_bridge.event import Position
from realtime_bridge.testing import FaultyProxy
from realtime_bridge_backends.redis import RedisBackend
from tests.nodes.audience import Audience
from tests.nodes.balancer import Balancer
from tests.nodes.fleet import Fleet, Published, publish
from tests.services.redis import RedisPair, RedisServer

FULL = "FULL_LOAD" in os.environ
"""`make load` runs these with more of everything."""

CHANNELS = [f"job.{number}" for number in range(50)]
CLIENTS, EACH = (200, 2) if FULL else (50, 2)
WORKERS, EVENTS = 4, 5_000 if FULL else 1_000
SECONDS = 20.0 if FULL else 5.0
"""How long the workers take."""

PATIENCE = 60.0


def on(url: str) -> dict[str, str]:
    return {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": url}


class Load:
    """What goes on, and how it ended."""

    def __init__(self, fleet: Fleet, audience: Audience, url: str) -> None:
        self.fleet = fleet
        self.audience = audience
        self.published = Published()
        self._url = url

    async def under_way(self) -> None:
        """Wait until a third of it is done."""
        async with asyncio.timeout(PATIENCE):
            await self.audience.has(WORKERS * EVENTS * EACH // len(CHANNELS) // 3)

    async def finish(self, publishing: "asyncio.Task[Published]") -> None:
        """Wait until everybody has all there is, and prove that nothing is missing."""
        self.published = await publishing
        async with RedisBackend(self._url) as log:
            tops: dict[str, Position] = await log.positions(CHANNELS)
        await self.audience.reach(tops, seconds=PATIENCE)
        self.audience.check(self.published)


@asynccontextmanager
async def load(
    url: str, folder: Path, *, own: dict[int, dict[str, str]] | None = None
) -> AsyncGenerator[Load]:
    """Publish to clients of two nodes; when the context ends, all must have arrived."""
    with Fleet(2, folder=folder, variables=on(url), own=own) as fleet:
        async with (
            Balancer(fleet.ports) as balancer,
            Audience(balancer.url, CLIENTS, CHANNELS, each=EACH) as audience,
        ):
            running = Load(fleet, audience, url)
            publishing = asyncio.create_task(
                publish(WORKERS, EVENTS, CHANNELS, seconds=SECONDS, fleet=fleet)
            )
            await running.under_way()
            yield running
            await running.finish(publishing)


async def test_every_client_gets_each_event_of_its_channels_once_and_in_order(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with load(redis_server.url, tmp_path) as running:
        pass
    assert running.audience.resets == []
    assert running.published.refused == 0
    assert sum(map(len, running.published.ids.values())) == WORKERS * EVENTS


async def test_the_clients_of_a_node_that_is_killed_move_to_the_other(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with load(redis_server.url, tmp_path) as running:
        running.fleet.kill(0)
    assert running.audience.resets == []


async def test_a_redis_that_is_restarted_with_its_data_loses_nothing(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with load(redis_server.url, tmp_path) as running:
        await asyncio.to_thread(redis_server.stop)
        await asyncio.to_thread(redis_server.start)
    assert running.audience.resets == []


async def test_a_redis_that_is_restarted_without_its_data_resets_every_channel(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with load(redis_server.url, tmp_path) as running:
        await asyncio.to_thread(redis_server.stop)
        redis_server.forget()
        await asyncio.to_thread(redis_server.start)
    resets = running.audience.resets
    assert {reset.channel for reset in resets} == {*CHANNELS}
    assert {reset.reason for reset in resets} == {"epoch"}


async def test_a_node_whose_redis_falls_silent_recovers_all_when_it_is_back(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with FaultyProxy(redis_server.port) as proxy:
        silent = on(proxy.url.replace("http", "redis"))
        async with load(redis_server.url, tmp_path, own={0: silent}) as running:
            proxy.swallow()
            await asyncio.sleep(20 if FULL else 6)  # the fault itself is that long
            proxy.heal()
            proxy.drop()
    assert running.audience.resets == []


async def test_a_failover_that_loses_the_last_writes_merges_no_two_histories(
    tmp_path: Path,
) -> None:
    with RedisPair(tmp_path / "pair") as pair:
        async with load(pair.url, tmp_path) as running:
            pair.part()
            await running.audience.has(WORKERS * EVENTS * EACH // len(CHANNELS) // 2)
            pair.master.kill()
    assert {reset.reason for reset in running.audience.resets} <= {"regressed", "epoch", "ahead"}
    assert running.audience.resets
