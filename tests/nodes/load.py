"""Load on two nodes with a shared log, by worker processes and many clients."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from realtime_bridge import Broadcaster
from realtime_bridge.backend.log import Log
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.position import Position
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

    async def until_published(self) -> None:
        """Wait until clients have received a third of the events."""
        async with asyncio.timeout(TIMEOUT):
            await self.clients.until_received(WORKERS * EVENTS * EACH // len(CHANNELS) // 3)

    async def until_one_more(self, broadcaster: Broadcaster) -> None:
        """Publish an event, also if the workers have ended, and wait until a client has it."""
        client = self.clients.clients[0]
        channel = client.channels[0]
        receipt = await broadcaster.publish(channel, "load.one-more", {})
        async with asyncio.timeout(TIMEOUT):
            while receipt.id not in client.ids[channel]:
                client.changed.clear()
                await client.changed.wait()

    async def finish(self, publish_task: "asyncio.Task[Published]") -> None:
        """Wait until every client has every event, and check that none is missing."""
        self.published = await publish_task
        async with self._log as log, asyncio.timeout(TIMEOUT):
            # The tops change too: after a failover a node may begin new epochs.
            while not self.clients.are_at(await _positions(log)):  # noqa: ASYNC110 another process
                await asyncio.sleep(0.1)
        self.clients.check(self.published)


async def _positions(log: Log) -> dict[str, Position]:
    """Return the channels' positions, when the log works again."""
    while True:
        try:
            return await log.positions(CHANNELS)
        except BackendUnavailableError:
            await asyncio.sleep(0.1)


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
