"""Load on two nodes with a shared log, by worker processes and many clients."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from realtime_bridge.backend.log import Log
from tests.nodes.balancer import Balancer
from tests.nodes.clients import Clients
from tests.nodes.cluster import Cluster, Published, publish

FULL = "FULL_LOAD" in os.environ
"""True in `make load`, which has more clients, events and time."""

CHANNELS = [f"job.{number}" for number in range(50)]
CLIENTS, EACH = (200, 2) if FULL else (50, 2)
WORKERS, EVENTS = 4, 5_000 if FULL else 1_000
SECONDS = 20.0 if FULL else 5.0
"""Time in which the workers publish."""

TIMEOUT = 60.0


class Load:
    """Running load: its cluster, its clients and its acknowledged events."""

    def __init__(self, cluster: Cluster, clients: Clients, log: Log) -> None:
        self.cluster = cluster
        self.clients = clients
        self.published = Published()
        self._log = log

    async def until_published(self, share: float = 1 / 3) -> None:
        """Wait until clients have received this share of the events."""
        async with asyncio.timeout(TIMEOUT):
            await self.clients.until_received(int(WORKERS * EVENTS * EACH / len(CHANNELS) * share))

    async def finish(self, publish_task: "asyncio.Task[Published]") -> None:
        """Wait until every client has every event, and check that none is missing."""
        self.published = await publish_task
        async with self._log as log:
            tops = await log.positions(CHANNELS)
        await self.clients.wait_until_at(tops, seconds=TIMEOUT)
        self.clients.check(self.published)


@asynccontextmanager
async def load(
    log: Log,
    variables: Mapping[str, str],
    folder: Path,
    *,
    own: Mapping[int, Mapping[str, str]] | None = None,
) -> AsyncGenerator[Load]:
    """Publish to clients of two nodes; at the end of the context every event has arrived.

    Args:
        log: the shared log, for this process.
        variables: the environment variables of nodes and workers, which select the log.
        folder: the working directory of the processes.
        own: the additional variables of single nodes, by number.

    """
    with Cluster(2, folder=folder, variables=variables, own=own) as cluster:
        async with (
            Balancer(cluster.ports) as balancer,
            Clients(balancer.url, CLIENTS, CHANNELS, each=EACH) as clients,
        ):
            active_load = Load(cluster, clients, log)
            publish_task = asyncio.create_task(
                publish(WORKERS, EVENTS, CHANNELS, seconds=SECONDS, cluster=cluster)
            )
            await active_load.until_published()
            yield active_load
            await active_load.finish(publish_task)
