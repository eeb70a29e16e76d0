"""Hub of one process: fans out the feed's events, and keeps its channels in step with the log."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from realtime_bridge.backend.feed import Feed, FeedInterrupted, Listener
from realtime_bridge.backend.log import Log
from realtime_bridge.errors import BackendUnavailableError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout.channel_fanout import ChannelFanout, FastSubscriber, Subscriber
from realtime_bridge.server.fanout.channel_opener import MAX_CHANNELS, ChannelOpener
from realtime_bridge.server.fanout.positions import differs_from, has_advanced, includes
from realtime_bridge.server.timing import ServerTiming

_TIMING = ServerTiming()
_logger = logging.getLogger("realtime_bridge.server")


class Hub:
    """Fans out the events that the feed announces, and answers subscriptions from the log.

    Args:
        log: the log, from which gaps are recovered.
        feed: the feed that announces events, often the same object.
        on_change: called when `healthy` has changed.
        timing: the durations of the server.

    """

    def __init__(
        self,
        log: Log,
        feed: Feed,
        *,
        on_change: Callable[[], None] = lambda: None,
        timing: ServerTiming = _TIMING,
    ) -> None:
        self._log, self._feed = log, feed
        self._on_change = on_change
        self._timing = timing
        self.healthy: bool = False
        """True while feed and log answer, so that all events are fanned out here."""
        self.events: int = 0
        self.recoveries: int = 0
        self.resets: int = 0
        """Number of events fanned out, of gaps read from the log, and of gaps that remain."""
        self.fanouts: dict[str, ChannelFanout] = {}
        """Fan-outs of the open channels, by channel."""
        self.opener: ChannelOpener = ChannelOpener(self._open_all)
        self._listener: Listener | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._changing, self._ready = asyncio.Lock(), asyncio.Event()

    @property
    def ready(self) -> bool:
        """True while subscriptions can be answered."""
        return self._ready.is_set()

    async def wait_until_ready(self, seconds: float) -> None:
        """Wait until subscriptions can be answered, at most this long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), seconds)

    async def run(self) -> None:
        """Listen to the feed until cancelled; when it breaks, reconnect and recover the gap."""
        while True:
            try:
                await self._listen()
            except* Exception:
                _logger.exception("the feed broke: retry_s=%g", self._timing.restart)
            await asyncio.sleep(self._timing.restart)

    def top(self, channel: str) -> int | None:
        """Return the offset that a channel was fanned out to, or None if it is not open."""
        fanout = self.fanouts.get(channel)
        return fanout.position.offset if fanout else None

    async def subscribe(
        self, subscriber: Subscriber, subscription: ChannelSubscription, after: Position | None
    ) -> None:
        """Answer a subscription from a position, or from now.

        Live events are buffered while the history is read, so that each arrives exactly once.

        Raises:
            RealtimeError: the feed is not connected, or the log cannot be read.

        """
        fanout = await self._open(subscription.channel)
        fanout.start_reading(subscriber, subscription)
        try:
            answer: Page | Reset = Page(events=(), top=fanout.position)
            if after is not None:
                answer = await self._log.read(subscription.channel, after)
            if fanout.reading_history.get(subscriber) is not subscription:
                return
            if isinstance(answer, Page) and answer.more:
                # The client asks for the next page. Live events would overtake that page.
                fanout.pause(subscriber, subscription)
                subscriber.subscribed(subscription, answer, recovered=True)
                return
            recovered = isinstance(answer, Page) and after is not None
            if isinstance(answer, Reset):
                subscriber.reset(subscription.channel, answer)
                answer = Page(events=(), top=answer.top)
            fanout.go_live(subscriber, subscription, answer, recovered=recovered)
        finally:
            if fanout.reading_history.get(subscriber) is subscription:
                fanout.stop_reading(subscriber)

    def unsubscribe(self, subscriber: Subscriber, channel: str) -> None:
        """End a subscription."""
        if fanout := self.fanouts.get(channel):
            fanout.remove(subscriber)

    def update_route(self, subscriber: FastSubscriber, subscription: ChannelSubscription) -> None:
        """Ask a subscriber for its write target, because the target has changed."""
        if fanout := self.fanouts.get(subscription.channel):
            fanout.update_route(subscriber, subscription)

    async def _open(self, channel: str) -> ChannelFanout:
        """Return the channel's fan-out; open the channel once for all requests."""
        while (fanout := self.fanouts.get(channel)) is None:
            if not self.ready:
                raise BackendUnavailableError("The feed is not connected now")
            await self.opener.open(channel)
        return fanout

    async def _open_all(self, channels: list[str]) -> None:
        """Listen to these channels, then begin each at the log's position."""
        assert self._listener
        async with self._changing:
            await self._listener.subscribe(channels)
        # Listening comes first: an event appended between the two calls is announced, not lost.
        tops = await self._log.positions(channels)
        for channel in channels:
            fanout = self.fanouts[channel] = ChannelFanout(channel, tops[channel])
            early = self.opener.finish(channel)
            self._accept(fanout, [event for event in early if not includes(fanout.position, event)])

    async def _listen(self) -> None:
        async with self._feed.listen() as listener, asyncio.TaskGroup() as tasks:
            self._listener, self._tasks = listener, tasks
            try:
                await self._follow(listener)
            finally:
                self._on_feed_lost()

    async def _follow(self, listener: Listener) -> None:
        assert self._tasks
        await listener.subscribe(list(self.fanouts))
        await self._verify_positions()
        self._tasks.create_task(self._check_regularly())
        self._tasks.create_task(self.opener.run())
        self._ready.set()
        async for item in listener:
            if isinstance(item, FeedInterrupted):
                await self._verify_positions()
            else:
                self._dispatch(item)
        raise BackendUnavailableError("The feed ended without an error")

    def _on_feed_lost(self) -> None:
        """Fail whatever waits for the tasks that end with the feed."""
        self._ready.clear()
        self._set_health(healthy=False)
        self._tasks = None
        self.opener.fail_all("the feed broke")
        for fanout in self.fanouts.values():
            fanout.recovering = False

    def _dispatch(self, events: Sequence[Event]) -> None:
        by_channel: dict[str, list[Event]] = {}
        for event in events:
            by_channel.setdefault(event.channel, []).append(event)
        for channel, channel_events in by_channel.items():
            if fanout := self.fanouts.get(channel):
                self._accept(fanout, channel_events)
            else:
                self.opener.buffer(channel, channel_events)

    def _accept(self, fanout: ChannelFanout, events: Iterable[Event]) -> None:
        if fanout.recovering:
            fanout.missed = True
            return
        count = fanout.accept(events)
        if count is None:
            self._recover(fanout)
        else:
            self.events += count

    def _recover(self, fanout: ChannelFanout) -> None:
        if fanout.recovering:
            return
        assert self._tasks
        fanout.recovering = True
        self.recoveries += 1
        self._tasks.create_task(self._recover_channel(fanout))

    async def _recover_channel(self, fanout: ChannelFanout) -> None:
        """Read a channel up to the log's top."""
        _logger.info("recovering: channel=%s from=%s", fanout.channel, fanout.position)
        while await self._try_read_page(fanout):
            pass
        fanout.recovering = False

    async def _try_read_page(self, fanout: ChannelFanout) -> bool:
        """Read a page, and return whether there is more; after a failure, wait and return True."""
        try:
            return await self._read_page(fanout)
        except Exception as error:
            _logger.warning("recovery failed: channel=%s error=%r", fanout.channel, error)
            await asyncio.sleep(self._timing.restart)
            return True

    async def _read_page(self, fanout: ChannelFanout) -> bool:
        # An announcement that arrives during the read may be past the page: the loop reads again.
        fanout.missed = False
        here = fanout.position
        answer = await self._log.read(fanout.channel, here)
        if isinstance(answer, Reset):
            self.resets += 1
            fanout.reset(await self._rotate_if_rolled_back(fanout.channel, answer, here))
            return fanout.missed
        self.events += len(answer.events)
        fanout.fan_out(answer.events)
        return answer.more or fanout.missed

    async def _rotate_if_rolled_back(self, channel: str, answer: Reset, here: Position) -> Reset:
        """Rotate the epoch of a log that lost events which were announced here.

        The events that the log has at their offsets must never follow what clients received.
        """
        if answer.top.epoch != here.epoch or answer.reason not in ("ahead", "regressed"):
            return answer
        _logger.warning("the log lost delivered events, rotating the epoch: channel=%s", channel)
        return Reset(reason="regressed", top=await self._log.rotate_epoch(channel, here.epoch))

    async def _check_regularly(self) -> None:
        timing = self._timing
        while True:
            await asyncio.sleep(timing.position_check if self.healthy else timing.restart)
            try:
                await self._close_unused()
                await self._check_positions(confirm=timing.announcement)
            except Exception:
                _logger.exception("the position check failed: next_s=%g", timing.position_check)

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
            tops = await self._positions(list(before))
        except RealtimeError as error:
            _logger.warning("positions cannot be compared: error=%s", error)
            self._set_health(healthy=False)
            return False
        self._set_health(healthy=True)
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

    async def _positions(self, channels: list[str]) -> dict[str, Position]:
        tops: dict[str, Position] = {}
        for start in range(0, len(channels), MAX_CHANNELS):
            tops |= await self._log.positions(channels[start : start + MAX_CHANNELS])
        return tops

    async def _close_unused(self) -> None:
        unused = [channel for channel, fanout in self.fanouts.items() if not fanout.in_use]
        for channel in unused:
            del self.fanouts[channel]
        # The lock orders this call after a request to open the same channel again.
        async with self._changing:
            assert self._listener
            await self._listener.unsubscribe(unused)
