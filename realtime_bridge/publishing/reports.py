"""Work that a broadcaster does in the background: reports of jobs, and batches without a wait."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.jobs.outage import Outage
from realtime_bridge.jobs.publisher import EventPublisher
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.timing import PublishTiming

if TYPE_CHECKING:
    from realtime_bridge.jobs.publisher import Publisher, Report

MAX_REPORTS = 10_000
"""Reports at once. More of them wait only in a long outage, where each takes some kilobytes."""

_logger = logging.getLogger("realtime_bridge.publishing")


class LoggedPublisher(EventPublisher, Protocol):
    """Broadcaster, as the reports need it."""

    log: Log | None


class Reports:
    """Reports of one broadcaster, which run in its event loop until they end or it closes.

    Args:
        broadcaster: publishes.
        timing: limits of the waits.

    """

    def __init__(self, broadcaster: LoggedPublisher, timing: PublishTiming) -> None:
        self.outage: Outage = Outage()
        self.batch_turn: asyncio.Lock = asyncio.Lock()
        self.publish: Callable[..., Coroutine[Any, Any, Receipt]] = broadcaster.publish
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

    async def has_key(self, channel: str, key: str) -> bool:
        """Return whether the log has an event of the key."""
        log, after = self._broadcaster.log, 0
        while log:
            page = await backend_call(log, log.latest, channel, after=after)
            if any(event.key == key for event in page.events):
                return True
            last = page.events[-1].position if page.events else None
            if not page.more or last is None:
                break
            after = last.offset
        return False


async def publish_batch(batch: Sequence[Event], publisher: "Publisher") -> None:
    """Publish a batch until the log has it, or refuses it; batches stay in order."""
    try:
        async with publisher.batch_turn:
            while not await publisher.outage.attempt(lambda: publisher.publish_many(batch)):
                pass
    except Exception as error:
        _logger.warning("events lost events=%d error=%r", len(batch), str(error))
