"""Mirror of a broadcaster: a copy of each event for another provider, beside the publish."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from realtime_bridge.backend.calls import backend_call, timed_out
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.push import Backend
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import PublishError
from realtime_bridge.model import ids
from realtime_bridge.model.channel import CONTROL, is_internal
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol.publishing.mirror_counts import MirrorCounts, Missing

CHANNEL = f"{CONTROL}.mirror"
EVENT = "mirror.counts"

CAPACITY = 10_000
"""Events that wait for the provider; later ones are dropped, and counted."""

CAPACITY_BYTES = 32 * 1024 * 1024
"""Bytes of the data of these events: one may have a megabyte."""

BATCH = 100
"""Events of one push."""

_logger = logging.getLogger("realtime_bridge.publishing")


class MirrorTiming(Struct, frozen=True, kw_only=True):
    """Durations of a mirror, in seconds.

    Args:
        push_seconds: the longest time of a push.
        report_seconds: interval of the reports in the log.
        close_seconds: the longest wait at the end for events that are on their way.

    """

    push_seconds: float = 5.0
    report_seconds: float = 5.0
    close_seconds: float = 2.0


_TIMING = MirrorTiming()


class Mirror:
    """Copier of events to another provider; it never fails and never delays a publish.

    Args:
        name: name of the backend.
        backend: pushes to the provider.
        log: the log, which also gets the reports.
        capacity: events that may wait.
        timing: durations.

    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        log: Log | None,
        *,
        capacity: int = CAPACITY,
        timing: MirrorTiming = _TIMING,
    ) -> None:
        self.counts: MirrorCounts = MirrorCounts(name, time.time())
        """Counts of this process."""
        self._backend = backend
        self._log = log
        self._capacity = capacity
        self._timing = timing
        self._node = ids.nonce()
        self._queue: deque[tuple[Event, float]] = deque()
        self._queue_bytes = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: Supervisor | None = None
        self._reported = 0
        self._outage = OutageLog(_logger, "mirror failed", "mirror works again", quiet=5.0)
        self._overflow = OutageLog(
            _logger, "mirror drops events", "mirror drops no events", quiet=5.0
        )

    def put(self, batch: Sequence[Event], receipts: Sequence[Receipt]) -> None:
        """Queue what the log accepted; the first call starts the work."""
        now = time.time()
        for event, receipt in zip(batch, receipts, strict=True):
            # The copy of a repeated id was made at its first publish.
            if receipt.refused or receipt.duplicate or is_internal(event.channel):
                continue
            self.counts.published += 1
            size = self._queue_bytes + len(event.body)
            if len(self._queue) >= self._capacity or size > CAPACITY_BYTES:
                self._drop(event, "the queue was full")
                self._overflow.failed(f"{len(self._queue)} events wait", mirror=self.counts.backend)
            else:
                self._queue.append((event.with_position(receipt.position, int(now * 1_000)), now))
                self._queue_bytes = size
        if self._tasks is None:
            self._tasks = Supervisor()
            self._tasks.run("mirror", self._run)
            self._tasks.run("mirror report", self._report_regularly)
        self._wake.set()

    async def close(self) -> None:
        """Wait a moment for the events on their way, and report the rest as dropped."""
        if self._tasks is None:
            return
        try:
            async with asyncio.timeout(self._timing.close_seconds):
                while self.counts.waiting:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass
        await self._tasks.close()
        self._tasks = None
        while self._queue:
            self._drop(self._take()[0], "the publisher ended")
        await self._report()

    async def _run(self) -> None:
        """Push what is queued; it never ends, except by an error of the connection."""
        async with self._backend:
            while True:
                while not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                await self._push([self._take() for _ in self._part()])
                self._overflow.works()
                self._idle.set()

    def _part(self) -> range:
        return range(min(BATCH, len(self._queue)))

    def _take(self) -> tuple[Event, float]:
        event, at = self._queue.popleft()
        self._queue_bytes -= len(event.body)
        return event, at

    async def _push(self, items: Sequence[tuple[Event, float]]) -> None:
        events = [event for event, _ in items]
        seconds = self._timing.push_seconds
        try:
            async with asyncio.timeout(seconds):
                await backend_call(self._backend, self._backend.push, events)
        except (PublishError, TimeoutError) as error:
            known = error if isinstance(error, PublishError) else timed_out(self._backend, seconds)
            self._fail(events, known)
        except asyncio.CancelledError:
            # The end of the publisher is no failure of the provider: `close` counts the events.
            for item in reversed(items):
                self._queue.appendleft(item)
                self._queue_bytes += len(item[0].body)
            raise
        except BaseException as error:
            self._fail(events, error)
            raise
        else:
            self.counts.accept(time.time() - at for _, at in items)
            self._outage.works(mirror=self.counts.backend)

    def _fail(self, events: Sequence[Event], error: BaseException) -> None:
        self._outage.failed(str(error), mirror=self.counts.backend, events=len(events))
        for event in events:
            reason = str(error) or type(error).__name__
            self.counts.miss(Missing(event.channel, event.event, event.id, reason[:200]))

    def _drop(self, event: Event, reason: str) -> None:
        missing = Missing(event.channel, event.event, event.id, reason)
        self.counts.miss(missing, dropped=True)

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._timing.report_seconds)
            await self._report()

    async def _report(self) -> None:
        """Store the counts in the log, if they have changed; a log that is down gets them later."""
        counts = self.counts
        number = counts.published + counts.mirrored + counts.failed + counts.dropped
        if self._log is None or number == self._reported:
            return
        body = msgspec.json.encode(counts)
        event = Event.internal(CHANNEL, EVENT, body, key=self._node)
        try:
            await backend_call(self._log, self._log.append, [event])
        except PublishError as error:
            _logger.info("mirror report failed error=%r", str(error))
        else:
            self._reported = number


async def read_reports(log: Log) -> list[MirrorCounts]:
    """Return the counts that publishers stored in the log.

    Raises:
        PublishError: the log is unavailable.

    """
    reports: list[MirrorCounts] = []
    after, more = 0, True
    while more:
        page = await backend_call(log, log.latest, CHANNEL, after=after)
        reports += [msgspec.json.decode(event.body, type=MirrorCounts) for event in page.events]
        more = page.more
        after = max((event.position.offset for event in page.events if event.position), default=0)
    return reports
