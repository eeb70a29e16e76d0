"""All nodes are restarted one after the other under load: nothing is lost, and nobody storms."""

import asyncio
import os
import resource
from contextlib import suppress
from pathlib import Path

import pytest

from realtime_bridge.model.position import Position
from realtime_bridge.protocol.session.drain_schedule import window
from realtime_bridge_backends.redis import RedisBackend
from tests.nodes.balancer import Balancer
from tests.nodes.clients import Audience
from tests.nodes.cluster import Fleet, publish
from tests.services.redis import RedisServer

NODES = 3
CLIENTS = 2_000 if "FULL_LOAD" in os.environ else 240
CHANNELS = [f"job.{number}" for number in range(20)]
FILES = 65_536
SETTLING_SECONDS = 11 if CLIENTS == 2_000 else 0
"""An operator of many waits before the next node: who moves thrice in a hurry takes to polling."""
WORKERS, EVENTS, SECONDS = 2, 500, 15.0 if CLIENTS < 2_000 else 60.0


@pytest.fixture(autouse=True)
def _many_files() -> None:
    """Let this process have the sockets of all clients, and the balancer's two for each."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # who may not raise it has fewer clients
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(before[1], FILES)))


async def test_nothing_is_lost_and_no_second_sees_over_twice_the_mean(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    variables = {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": redis_server.url}
    with Fleet(NODES, folder=tmp_path, variables=variables) as fleet:
        async with (
            Balancer(fleet.ports) as balancer,
            Audience(balancer.url, CLIENTS, CHANNELS, each=1) as audience,
            asyncio.TaskGroup() as tasks,
        ):
            publishing = tasks.create_task(
                publish(WORKERS, EVENTS, CHANNELS, seconds=SECONDS, fleet=fleet)
            )
            moves = [await _restart(fleet, node, balancer) for node in range(NODES)]
            published = await publishing
            tops = await asyncio.to_thread(asyncio.run, positions(redis_server.url))
            await audience.reach(tops, seconds=60)
    audience.check(published)
    assert audience.resets == []
    for moments in moves:
        mean = len(moments) / window(len(moments), grace=10)
        assert busiest_second(moments) <= 2 * mean, (busiest_second(moments), mean)


def busiest_second(moments: list[float]) -> int:
    return max(sum(start <= moment < start + 1 for moment in moments) for start in moments)


async def positions(url: str) -> dict[str, Position]:
    """Ask in a loop of its own: that of two thousand clients is late."""
    async with RedisBackend(url) as log:
        return await log.positions(CHANNELS)


async def _restart(fleet: Fleet, node: int, balancer: Balancer) -> list[float]:
    """Restart a node, and return when each socket was asked for meanwhile."""
    await asyncio.sleep(SETTLING_SECONDS)
    before = len(balancer.upgrades)
    await fleet.restart(node)
    return balancer.upgrades[before:]
