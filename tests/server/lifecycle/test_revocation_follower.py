"""Tests of the follower of revocations: it misses none, whatever the feed does."""

from collections.abc import Callable

from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.server.auth.revocations import Revocation, Revocations
from realtime_bridge.server.lifecycle.revocation_follower import RevocationFollower
from realtime_bridge.server.registry import ConnectionRegistry
from tests.server.fakes import FakeFeed, SlowLog, running_hub
from tests.server.harness import until

REVOCATION = Revocation(user="42", channel=None)
GAP = Reset(reason="truncated", top=Position("k3v9q2wz", 1))


class OutdatedLog(SlowLog):
    """Log that gets a revocation between its first answer and the arrival of this answer."""

    def __init__(self) -> None:
        super().__init__()
        self.report_gap: Callable[[], None] | None = None

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        page = await super().latest(channel, after=after, limit=limit)
        if self.report_gap:
            await self.append([REVOCATION.event()])
            self.report_gap()
            self.report_gap = None
        return page


async def test_gap_during_the_read_leads_to_another_read() -> None:
    log, revocations, registry = OutdatedLog(), Revocations(), ConnectionRegistry(1)
    async with running_hub(log, FakeFeed()) as hub, Supervisor() as tasks:
        follower = RevocationFollower(revocations, log, hub, registry, retry=0.01)
        log.report_gap = lambda: follower.reset(CONTROL, GAP)
        tasks.run("revocations", follower.run)
        await until(lambda: REVOCATION in revocations)
