"""Push of published events through the backend: best effort where a log has them."""

import asyncio
import logging
import time
from collections.abc import Sequence

from msgspec.structs import replace

from realtime_bridge.backend.calls import backend_call, timed_out
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.push import Backend
from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.timing import PublishTiming

_logger = logging.getLogger("realtime_bridge.publishing")


class EventPusher:
    """Pusher of one broadcaster's events.

    Args:
        log: the log that has them; None is signal mode, where the push decides.
        backend: pushes towards browsers.
        timing: limits of one push.

    """

    def __init__(self, log: Log | None, backend: Backend, timing: PublishTiming) -> None:
        self.unpushed: int = 0
        """Number of events in the log whose push failed: recovery delivers them."""
        self._log = log
        self._backend = backend
        self._timing = timing
        self._outage = OutageLog(
            _logger, "push failed", "pushes work again", quiet=timing.quiet_seconds
        )

    async def push(self, batch: Sequence[Event], receipts: list[Receipt]) -> list[Receipt]:
        """Push the events that the log accepted; return the receipts, with failed pushes.

        Raises:
            PublishError: the push failed, and there is no log.

        """
        seconds = self._timing.call_seconds
        try:
            async with asyncio.timeout(seconds):
                events = await self._stored_events(batch, receipts)
                await backend_call(self._backend, self._backend.push, events)
        except (PublishError, TimeoutError) as error:
            is_answer = isinstance(error, PublishError)
            failure = error if is_answer else timed_out(self._backend, seconds)
            if self._log is None:
                raise failure from error
            # The log has the events: clients fetch them from there, so the publish succeeded.
            self.unpushed += len(batch)
            self._outage.failed(failure, events=len(batch))
            return [replace(receipt, pushed=False) for receipt in receipts]
        self._outage.works()
        return receipts

    async def _stored_events(
        self, batch: Sequence[Event], receipts: Sequence[Receipt]
    ) -> list[Event]:
        """Return the log's version of each event: of a duplicate the first data, unless trimmed."""
        now = time.time_ns() // 1_000_000
        events: list[Event] = []
        for event, receipt in zip(batch, receipts, strict=True):
            if receipt.refused:
                continue
            # A repeated id may carry other data: clients must get what the log has.
            if receipt.duplicate and receipt.position and self._log:
                position = receipt.position
                before = Position(position.epoch, position.offset - 1)
                page = await backend_call(self._log, self._log.read, event.channel, before, 1)
                events += page.events if isinstance(page, Page) else ()
            else:
                events.append(event.with_position(receipt.position, now))
        return events
