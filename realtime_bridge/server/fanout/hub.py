"""Hub of one process: fans out the feed's events, and keeps its channels in step with the log."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from sys import modules

from realtime_bridge.backend.feed import Feed, FeedInterrupted, Listener
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import BackendUnavailableError, RealtimeError
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout import flush
from realtime_bridge.server.fanout.channel_fanout import ChannelFanout
from realtime_bridge.server.fanout.channel_opener import ChannelOpener
from realtime_bridge.server.fanout.history_reader import HistoryReader
from realtime_bridge.server.fanout.positions import after_top, differs_from, has_advanced
from realtime_bridge.server.fanout.recovery import Recovery
from realtime_bridge.server.fanout.subscriber import FastSubscriber, Subscriber
from realtime_bridge.server.statistics import ServerStatistics
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.tracing import OPENTELEMETRY, fan_out_spans

_TIMING = ServerTiming()
_logger = logging.getLogger("realtime_bridge.server")


class Hub:
    """Fans out the events that the feed announces, and answers subscriptions from the log.

    Args:
        log: the log, from which gaps are recovered.
        feed: the feed that announces events, often the same object.
        on_change: called when `healthy` has changed.
        timing: the durations of the server.
        statistics: counts of this run.

    """

    def __init__(
        self,
        log: Log,
        feed: Feed,
        *,
        on_change: Callable[[], None] = lambda: None,
        timing: ServerTiming = _TIMING,
        statistics: ServerStatistics | None = None,
    ) -> None:
        self._feed = feed
        self._on_change, self._timing = on_change, timing
        self._statistics = statistics or ServerStatistics()
        self.healthy: bool = False
        """True while feed and log answer, so that all events are fanned out here."""
        self.recovery: Recovery = Recovery(log, timing)
        """Recovery of gaps in the feed."""
        self._history = HistoryReader(log, self._recover, wait=timing.announcement)
        self.fanouts: dict[str, ChannelFanout] = {}
        """Fan-outs of the open channels, by channel."""
        self.polled: dict[str, float] | None = None
        """Monotonic times of the last polls, by channel; None: no outlet needs them."""
        self._is_local = log.in_process
        self.opener: ChannelOpener = ChannelOpener(self._open_all, at_once=log.in_process)
        self._has_feed = False
        self._listener: Listener | None = None
        self._tasks: Supervisor | None = None
        self._check_outage = OutageLog(
            _logger, "the position check failed", "the position check works again"
        )
        self._changing, self._ready = asyncio.Lock(), asyncio.Event()

    @property
    def failing(self) -> list[str]:
        """Names of the hub's background work that does not run now."""
        return self._tasks.failing if self._tasks else []

    @property
    def ready(self) -> bool:
        """True while subscriptions can be answered."""
        return self._ready.is_set()

    async def wait_until_ready(self, seconds: float) -> None:
        """Wait until subscriptions can be answered, at most this long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), seconds)

    async def run(self, confirm: Callable[[], None] = lambda: None) -> None:
        """Listen to the feed until it is lost; a supervisor runs this again.

        Args:
            confirm: called once the feed is connected.

        Raises:
            Exception: the reason of the loss, of any class.

        """
        async with (
            self._feed.listen() as listener,
            Supervisor(timing=self._timing.supervision) as tasks,
        ):
            self._listener, self._tasks = listener, tasks
            listener.on_ephemeral = self._pass_on
            self._has_feed = True
            try:
                await self._follow(listener, tasks, confirm)
            finally:
                self._on_feed_lost()

    def top(self, channel: str) -> int | None:
        """Return the offset that a channel was fanned out to, or None if it is not open."""
        fanout = self.fanouts.get(channel)
        return fanout.position.offset if fanout else None

    async def open(self, channel: str) -> ChannelFanout:
        """Return the channel's fan-out; open the channel once for all requests.

        Raises:
            RealtimeError: the feed is not connected, or the log cannot be read.

        """
        while (fanout := self.fanouts.get(channel)) is None:
            if not self.ready:
                raise BackendUnavailableError("The feed is not connected now")
            await self.opener.open(channel)
        return fanout

    async def subscribe(
        self, subscriber: Subscriber, subscription: ChannelSubscription, after: Position | None
    ) -> None:
        """Answer a subscription from a position, or from now.

        Live events are buffered while the history is read, so that each arrives exactly once.

        Raises:
            RealtimeError: the feed is not connected, or the log cannot be read.

        """
        fanout = await self.open(subscription.channel)
        fanout.start_reading(subscriber, subscription)
        try:
            answer: Page | Reset = Page(events=(), top=fanout.position)
            if after is not None:
                answer = await self._history.read(fanout, subscriber, subscription, after)
            if fanout.reading_history.get(subscriber) is not subscription:
                return
            if isinstance(answer, Reset):
                subscriber.reset(fanout.channel, answer)
                no_events = Page(events=(), top=answer.top)
                fanout.go_live(subscriber, subscription, no_events, recovered=False)
            elif answer.more:
                # The client asks for the next page. Live events would overtake that page.
                fanout.pause(subscriber, subscription)
                subscriber.subscribed(subscription, answer, recovered=True)
            else:
                fanout.go_live(subscriber, subscription, answer, recovered=after is not None)
        finally:
            if fanout.reading_history.get(subscriber) is subscription:
                fanout.stop_reading(subscriber)

    def answers_at_once(self, channel: str, after: Position | None) -> bool:
        """Return whether `subscribe` waits for no other process."""
        return self._is_local or (after is None and channel in self.fanouts)

    def unsubscribe(self, subscriber: Subscriber, channel: str) -> None:
        """End a subscription."""
        if fanout := self.fanouts.get(channel):
            fanout.remove(subscriber)

    def update_route(self, subscriber: FastSubscriber, subscription: ChannelSubscription) -> None:
        """Ask a subscriber for its write target, because the target has changed."""
        if fanout := self.fanouts.get(subscription.channel):
            fanout.update_route(subscriber, subscription)

    async def _open_all(self, channels: list[str]) -> None:
        """Listen to these channels, then begin each at the log's position."""
        assert self._listener
        async with self._changing:
            await self._listener.subscribe(channels)
        # Listening comes first: an event appended between the two calls is announced, not lost.
        tops = await self.recovery.tops(channels)
        for channel in channels:
            fanout = self.fanouts[channel] = ChannelFanout(channel, tops[channel], self._statistics)
            early = self.opener.finish(channel)
            self._accept(fanout, after_top(fanout.position, early))

    async def _follow(
        self, listener: Listener, tasks: Supervisor, confirm: Callable[[], None]
    ) -> None:
        await listener.subscribe(list(self.fanouts))
        await self._verify_positions()
        tasks.run("position check", self._check_regularly)
        tasks.run("channel opener", self.opener.run)
        self._ready.set()
        confirm()
        await listener.follow(self._dispatch, self._on_gap)
        raise BackendUnavailableError("The feed ended without an error")

    def _on_feed_lost(self) -> None:
        """Fail whatever waits for the tasks that end with the feed."""
        self._ready.clear()
        self._set_health(healthy=False)
        self._tasks = None
        self.opener.fail_all("the feed broke")
        for fanout in self.fanouts.values():
            fanout.recovering = False

    async def _on_gap(self, gap: FeedInterrupted) -> None:
        if gap.channel is None:
            self._has_feed = gap.connected
            await self._verify_positions()
        elif fanout := self.fanouts.get(gap.channel):
            fanout.missed = True
            self._recover(fanout)

    def _dispatch(self, events: Sequence[Event]) -> None:
        if OPENTELEMETRY in modules:
            with fan_out_spans(events, self._subscriber_count):
                self._fan_out(events)
        else:
            self._fan_out(events)

    def _pass_on(self, event: EphemeralEvent) -> None:
        if fanout := self.fanouts.get(event.channel):
            self._attempt(fanout, partial(fanout.pass_on, event))

    def _subscriber_count(self, channel: str) -> int:
        fanout = self.fanouts.get(channel)
        return fanout.subscriber_count if fanout else 0

    def _fan_out(self, events: Sequence[Event]) -> None:
        if flush.fan_out:
            events, unwritten = flush.fan_out_to_sockets(events, self.fanouts, self._statistics)
            for item in unwritten:
                self._attempt(item[0], partial(flush.write_rest, *item))
        by_channel: dict[str, list[Event]] = {}
        for event in events:
            by_channel.setdefault(event.channel, []).append(event)
        for channel, channel_events in by_channel.items():
            if fanout := self.fanouts.get(channel):
                self._attempt(fanout, partial(self._accept, fanout, channel_events))
            else:
                self.opener.buffer(channel, channel_events)

    def _attempt(self, fanout: ChannelFanout, work: Callable[[], None]) -> None:
        """Do some work; a subscriber that fails costs its channel a reset, and others nothing."""
        try:
            work()
        except Exception:
            _logger.exception("fan-out failed: channel=%s", fanout.channel)
            self.recovery.resets += 1
            fanout.reset(Reset(reason="truncated", top=fanout.position))

    def _accept(self, fanout: ChannelFanout, events: Iterable[Event]) -> None:
        if fanout.recovering:
            fanout.missed = True
            return
        if not fanout.accept(events):
            self._recover(fanout)

    def _recover(self, fanout: ChannelFanout) -> None:
        if self._tasks is None:
            raise BackendUnavailableError("The feed is not connected now")
        self.recovery.start(fanout, self._tasks)

    async def _check_regularly(self) -> None:
        timing = self._timing
        while True:
            # A failed recovery makes the check due: it decides whether clients have to poll.
            wait = self.recovery.wait_for_failure if self.healthy else asyncio.sleep
            await wait(timing.position_check if self.healthy else timing.restart)
            try:
                await self._close_unused()
                await self._check_positions(confirm=timing.announcement)
            except Exception as error:
                self._check_outage.failed(error)
            else:
                self._check_outage.works()

    async def _verify_positions(self) -> None:
        """Compare positions before the next event is fanned out; repeat until the log answers."""
        while not await self._check_positions(confirm=0):  # noqa: ASYNC110 -- a log sets no event
            await asyncio.sleep(self._timing.restart)

    async def _check_positions(self, *, confirm: float) -> bool:
        """Recover each channel that differs from the log, and still does after `confirm` seconds.

        Return whether the log answered.
        """
        before = {channel: fanout.position for channel, fanout in self.fanouts.items()}
        try:
            tops = await self.recovery.tops(list(before))
        except RealtimeError as error:
            self.recovery.outage.failed(error, work="positions")
            self._set_health(healthy=False)
            return False
        # Regularly, so that the end of an outage is also reported where no request follows.
        self.recovery.outage.works()
        self._set_health(healthy=self._has_feed)
        suspects = [name for name, top in tops.items() if differs_from(before[name], top)]
        if suspects and confirm:
            await asyncio.sleep(confirm)
        for channel in suspects:
            fanout = self.fanouts.get(channel)
            if fanout and not has_advanced(fanout.position, before[channel], tops[channel]):
                self._recover(fanout)
        return True

    def _set_health(self, *, healthy: bool) -> None:
        if healthy != self.healthy:
            self.healthy = healthy
            self._on_change()

    async def _close_unused(self) -> None:
        unused = [channel for channel, fanout in self.fanouts.items() if not fanout.in_use]
        for channel in unused:
            del self.fanouts[channel]
        # The lock orders this call after a request to open the same channel again.
        async with self._changing:
            assert self._listener
            await self._listener.unsubscribe(unused)
