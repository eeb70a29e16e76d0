"""So much load on two nodes, by worker processes and many clients, on whatever log is shared."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from realtime_bridge.backend.log import Log
from tests.nodes.balancer import Balancer
from tests.nodes.clients import Audience
from tests.nodes.cluster import Fleet, Published, publish

FULL = "FULL_LOAD" in os.environ
"""`make load` has more of everything."""

CHANNELS = [f"job.{number}" for number in range(50)]
CLIENTS, EACH = (200, 2) if FULL else (50, 2)
WORKERS, EVENTS = 4, 5_000 if FULL else 1_000
SECONDS = 20.0 if FULL else 5.0
"""How long the workers take."""

TIMEOUT = 60.0


class Load:
    """What goes on, and how it ended."""

    def __init__(self, fleet: Fleet, audience: Audience, log: Log) -> None:
        self.fleet = fleet
        self.audience = audience
        self.published = Published()
        self._log = log

    async def under_way(self, share: float = 1 / 3) -> None:
        """Wait until this share of it is done."""
        async with asyncio.timeout(TIMEOUT):
            await self.audience.has(int(WORKERS * EVENTS * EACH / len(CHANNELS) * share))

    async def finish(self, publishing: "asyncio.Task[Published]") -> None:
        """Wait until everybody has all there is, and prove that nothing is missing."""
        self.published = await publishing
        async with self._log as log:
            tops = await log.positions(CHANNELS)
        await self.audience.reach(tops, seconds=TIMEOUT)
        self.audience.check(self.published)


@asynccontextmanager
async def load(
    log: Log,
    variables: Mapping[str, str],
    folder: Path,
    *,
    own: Mapping[int, Mapping[str, str]] | None = None,
) -> AsyncGenerator[Load]:
    """Publish to clients of two nodes; when the context ends, all must have arrived.

    Args:
        log: what all share, for this process.
        variables: what says so to nodes and workers.
        folder: where they run.
        own: variables of one node alone.

    """
    with Fleet(2, folder=folder, variables=variables, own=own) as fleet:
        async with (
            Balancer(fleet.ports) as balancer,
            Audience(balancer.url, CLIENTS, CHANNELS, each=EACH) as audience,
        ):
            running = Load(fleet, audience, log)
            publishing = asyncio.create_task(
                publish(WORKERS, EVENTS, CHANNELS, seconds=SECONDS, fleet=fleet)
            )
            await running.under_way()
            yield running
            await running.finish(publishing)
