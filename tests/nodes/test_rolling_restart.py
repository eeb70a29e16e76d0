"""Restart of all nodes one after the other under load, without lost events or storms."""

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
from tests.nodes.clients import Clients
from tests.nodes.cluster import Cluster, publish
from tests.services.redis import RedisServer

NODES = 3
CLIENTS = 2_000 if "FULL_LOAD" in os.environ else 240
CHANNELS = [f"job.{number}" for number in range(20)]
FILES = 65_536
SETTLING_SECONDS = 11 if CLIENTS == 2_000 else 0
"""Wait before the next node: clients that lose three sockets in a short time use polling."""
WORKERS, EVENTS, SECONDS = 2, 500, 15.0 if CLIENTS < 2_000 else 60.0


@pytest.fixture(autouse=True)
def _many_files() -> None:
    """Raise the limit of open files: one socket per client, and two in the balancer."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # without the permission, fewer clients fit
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(limits[1], FILES)))


async def test_rolling_restart_loses_no_event_and_spreads_clients(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    variables = {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": redis_server.url}
    with Cluster(NODES, folder=tmp_path, variables=variables) as cluster:
        async with (
            Balancer(cluster.ports) as balancer,
            Clients(balancer.url, CLIENTS, CHANNELS, each=1) as clients,
            asyncio.TaskGroup() as tasks,
        ):
            publish_task = tasks.create_task(
                publish(WORKERS, EVENTS, CHANNELS, seconds=SECONDS, cluster=cluster)
            )
            moves = [await _restart(cluster, node, balancer) for node in range(NODES)]
            published = await publish_task
            tops = await asyncio.to_thread(asyncio.run, positions(redis_server.url))
            await clients.wait_until_at(tops, seconds=60)
    clients.check(published)
    assert clients.resets == []
    for upgrades in moves:
        mean = len(upgrades) / window(len(upgrades), grace=10)
        assert busiest_second(upgrades) <= 2 * mean, (busiest_second(upgrades), mean)


def busiest_second(times: list[float]) -> int:
    return max(sum(start <= time < start + 1 for time in times) for start in times)


async def positions(url: str) -> dict[str, Position]:
    """Read the positions in an event loop of its own: the loop of the clients is late."""
    async with RedisBackend(url) as log:
        return await log.positions(CHANNELS)


async def _restart(cluster: Cluster, node: int, balancer: Balancer) -> list[float]:
    """Restart a node; return the times of the socket upgrades during the restart."""
    await asyncio.sleep(SETTLING_SECONDS)
    first = len(balancer.upgrades)
    await cluster.restart(node)
    return balancer.upgrades[first:]
