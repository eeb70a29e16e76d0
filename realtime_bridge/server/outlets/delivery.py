"""Delivery of events to one outlet."""

import asyncio
import logging
import random
import time
from contextlib import suppress

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol import backoff
from realtime_bridge.protocol.outlets.channel_queue import ChannelQueue
from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.server.outlets.outlet import Outlet
from realtime_bridge.server.outlets.positions import OutletPositions
from realtime_bridge.server.outlets.sender import DeliveryError, WebhookSender
from realtime_bridge.server.outlets.watched import digest
from realtime_bridge.server.statistics import OutletCounts

PAGE_EVENTS = 50
"""Events that are read at once. After a kill, so many of a channel may be delivered again."""

_logger = logging.getLogger("realtime_bridge.outlets")


class OutletDelivery:
    """Delivery to one outlet, by several workers; each has a channel for itself.

    Args:
        outlet: the outlet.
        log: the log.
        sender: sends webhooks.
        counts: counts of the metrics.
        timing: durations.

    """

    def __init__(
        self,
        outlet: Outlet,
        log: ListableLog,
        sender: WebhookSender,
        counts: OutletCounts,
        timing: OutletTiming,
    ) -> None:
        self.queue: ChannelQueue = ChannelQueue({})
        self.watched: frozenset[str] = frozenset()
        """Digests of the channels that clients watch; of an outlet that gets all events, none."""
        self._outlet = outlet
        self._log = log
        self._sender = sender
        self._counts = counts
        self._timing = timing
        self._positions = OutletPositions(log, outlet.id)
        self._stored_at: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._outage = OutageLog(
            _logger, "outlet failed", "outlet works again", quiet=timing.quiet_seconds
        )

    @property
    def is_unwatched(self) -> bool:
        """True if the outlet gets only events of channels that no client watches."""
        return self._outlet.when == "unwatched"

    async def load(self) -> None:
        """Continue after the last delivery of any server.

        Raises:
            PublishError: the log is unavailable.

        """
        self.queue = ChannelQueue(await self._positions.load())

    def wake(self) -> None:
        """Have the workers look at the queue."""
        self._changed.set()
        self._counts.waiting = len(self.queue)

    async def work(self) -> None:
        """Deliver one channel after the other; it never ends."""
        while True:
            channel = self.queue.take(time.monotonic())
            if channel is None:
                await self._wait()
                continue
            try:
                wait = await self._deliver(channel)
            except RealtimeError as error:
                self._on_failure(channel, error)
            except BaseException:
                self.queue.retry_at(channel, time.monotonic())
                raise
            else:
                if wait:
                    self.queue.retry_at(channel, time.monotonic() + wait)
                else:
                    self.queue.release(channel)

    async def _wait(self) -> None:
        """Wait for another channel or the next retry."""
        due = self.queue.next_retry()
        self._changed.clear()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _on_failure(self, channel: str, error: RealtimeError) -> None:
        self._counts.failures += 1
        self._outage.failed(error, outlet=self._outlet.host)
        timing, failures = self._timing, self.queue.fail(channel)
        seconds = backoff.delay(
            failures - 1,
            random.random(),  # noqa: S311 -- jitter
            base=timing.retry_seconds,
            floor=timing.retry_seconds / 2,
            cap=timing.longest_retry_seconds,
        )
        requested = error.retry_after if isinstance(error, DeliveryError) else 0.0
        wait = max(seconds, min(requested, timing.longest_retry_seconds))
        self.queue.retry_at(channel, time.monotonic() + wait)
        self.wake()

    async def _deliver(self, channel: str) -> float:
        """Deliver a page of a channel, and return the seconds until its next event is due.

        Raises:
            RealtimeError: the log or the target failed; what was delivered before is recorded.

        """
        start = self.queue.position(channel)
        answer = await backend_call(self._log, self._log.read, channel, start, PAGE_EVENTS)
        # The scan's top may be older: the channel would be read until the next scan.
        self.queue.update({channel: answer.top})
        if isinstance(answer, Reset):
            answer = await self._oldest(channel, start)
        try:
            wait = await self._send_all(channel, answer)
        except BaseException:
            # Another failure of the log must not replace the first one: the worker would go on
            # after its cancellation.
            with suppress(RealtimeError):
                await self._store(channel, answer, start)
            raise
        await self._store(channel, answer, start)
        return wait

    async def _store(self, channel: str, page: Page, start: Position) -> None:
        """Store how far a page that began at a position is delivered, if that is due."""
        position = self.queue.position(channel)
        events = [event for event in page.events if _is_behind(event, position)]
        is_new = any(map(self._outlet.takes, events))
        if position != start and self._is_due(channel, is_new=is_new):
            await self._positions.store(channel, position)

    async def _send_all(self, channel: str, page: Page) -> float:
        for event in page.events:
            if wait := self._wait_for(event):
                return wait
            if self._outlet.takes(event) and digest(channel) not in self.watched:
                await self._send(channel, event)
            self.queue.move(channel, _place(event))
        if not page.events:
            self.queue.move(channel, page.top)
        return 0.0

    async def _send(self, channel: str, event: Event) -> None:
        try:
            await self._sender.send(self._outlet, event)
        except DeliveryError as error:
            age = time.time() - (event.time or 0) / 1_000
            if age < self._timing.give_up_seconds:
                raise
            self._counts.missed += 1
            _logger.warning(
                "outlet misses an event that failed for too long outlet=%s channel=%s age=%.0f "
                "error=%s",
                *(self._outlet.host, channel, age, error),
            )
            return
        self._counts.delivered += 1
        self._outage.works(outlet=self._outlet.host)

    def _wait_for(self, event: Event) -> float:
        """Return the seconds until every server's watched channels are known as of an event."""
        if self._outlet.when == "always" or not self._outlet.takes(event):
            return 0.0
        age = time.time() - (event.time or 0) / 1_000
        # Never longer, also where the clock of the log is ahead.
        return min(max(0.0, self._timing.settle_seconds - age), self._timing.settle_seconds)

    def _is_due(self, channel: str, *, is_new: bool) -> bool:
        """Return whether to store a position: at once after a delivery, else once in a while."""
        now = time.monotonic()
        if not is_new and now - self._stored_at.get(channel, 0.0) < self._timing.store_seconds:
            return False
        self._stored_at[channel] = now
        return True

    async def _oldest(self, channel: str, start: Position) -> Page:
        """Return the oldest events that the log still has, and count the missed ones."""
        page = await backend_call(self._log, self._log.oldest, channel, PAGE_EVENTS)
        events = () if isinstance(page, Reset) else page.events
        oldest = events[0].position if events else None
        top = page.top
        before = Position(top.epoch, oldest.offset - 1 if oldest else top.offset)
        missed = before.offset - start.offset
        if self.queue.is_known(channel) and start.epoch == top.epoch and missed > 0:
            self._counts.missed += missed
            _logger.warning(
                "outlet misses events outlet=%s channel=%s missed=%d: the log has removed them",
                self._outlet.host,
                channel,
                missed,
            )
        self.queue.move(channel, before)
        return Page(events=events, top=top)


def _is_behind(event: Event, position: Position) -> bool:
    return event.position is not None and event.position.offset <= position.offset


def _place(event: Event) -> Position:
    assert event.position
    return Position(event.position.epoch, event.position.offset, event.id)
