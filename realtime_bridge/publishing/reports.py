"""Work that a broadcaster does in the background: reports of jobs, and batches without a wait."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.jobs.outage import Outage
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.timing import PublishTiming

if TYPE_CHECKING:
    from realtime_bridge.jobs.publisher import Publisher, Report
    from realtime_bridge.publishing.lease_keeper import LeaseKeeper
    from realtime_bridge.publishing.owned_keys import OwnedKeys
    from realtime_bridge.publishing.stream_writer import StreamWriter
    from realtime_bridge.publishing.streams import Streams

MAX_REPORTS = 10_000
"""Reports at once. More of them wait only in a long outage, where each takes some kilobytes."""

_logger = logging.getLogger("realtime_bridge.publishing")


class ReportBroadcaster(Protocol):
    """Broadcaster, as the reports need it."""

    @property
    def owned_keys(self) -> "OwnedKeys":
        """Keys with owners in the log."""

    @property
    def streams(self) -> "Streams":
        """Streams of the broadcaster."""

    async def publish_many(self, events: Sequence[Event]) -> list[Receipt]:
        """Publish events in order; see `Broadcaster.publish_many`."""


class Reports:
    """Reports of one broadcaster, which run in its event loop until they end or it closes.

    Args:
        broadcaster: publishes.
        timing: limits of the waits.

    """

    def __init__(self, broadcaster: ReportBroadcaster, timing: PublishTiming) -> None:
        self.outage: Outage = Outage()
        self.batch_turn: asyncio.Lock = asyncio.Lock()
        self.publish_many: Callable[..., Coroutine[Any, Any, list[Receipt]]] = (
            broadcaster.publish_many
        )
        self._broadcaster = broadcaster
        self._timing = timing
        self._tasks = Supervisor()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        # For the reports that other threads start.
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # At most some seconds: a log that is down must not keep the process from its end.
        lost = await self._tasks.finish(self._timing.close_seconds)
        if lost:
            _logger.warning(
                "job updates lost jobs=%d reason=%r", lost, "the broadcaster was closed"
            )

    def start(self, report: "Report") -> None:
        """Start a report; in another thread, soon."""
        if self._tasks.running >= MAX_REPORTS:
            raise RuntimeError(f"{MAX_REPORTS:,} reports wait for the log")
        loop = asyncio._get_running_loop()
        if loop is None or loop is not (self._loop or loop):
            if self._loop is None:
                raise ConfigurationError(
                    "The broadcaster is not entered: enter it by `async with` before its jobs"
                )
            self._loop.call_soon_threadsafe(self.start, report)
            return
        self._tasks.spawn("job report", report(self))

    def wait_seconds(self) -> float:
        """Return the longest time that a caller may wait for a report; 0 in an outage."""
        return 0.0 if self.outage.is_on else self._timing.report_seconds

    def begin_outage(self) -> None:
        """Record that a wait was in vain."""
        self.outage.is_on = True

    @property
    def leases(self) -> "LeaseKeeper | None":
        """Keeper of the leases; None where the log keeps no keys with owners."""
        keys = self._broadcaster.owned_keys
        return keys.leases if keys.are_kept else None

    def item_writer(
        self, channel: str, stream: str, *, meta: Any, attempt: str, pace: float
    ) -> "StreamWriter":
        """Return the writer of a stream of texts."""
        return self._broadcaster.streams.writer(
            channel, stream, format="text", meta=meta, attempt=attempt, pace=pace
        )

    async def read_key(self, channel: str, key: str) -> Page:
        """Return what the log has of a key."""
        return await self._broadcaster.owned_keys.read(channel, key)


async def publish_batch(batch: Sequence[Event], publisher: "Publisher") -> None:
    """Publish a batch until the log has it, or refuses it; batches stay in order."""
    try:
        async with publisher.batch_turn:
            while await publisher.outage.attempt(lambda: publisher.publish_many(batch)) is None:
                pass
    except Exception as error:
        _logger.warning("events lost events=%d error=%r", len(batch), str(error))
