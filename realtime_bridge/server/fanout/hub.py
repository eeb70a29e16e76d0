"""Who in this process listens to which channel, and how it stays in step with the log."""

import asyncio
import logging
from collections.abc import Callable, Iterable, KeysView, Sequence
from contextlib import suppress

from realtime_bridge.backend.feed import Feed, FeedInterrupted, Listener
from realtime_bridge.backend.log import Log
from realtime_bridge.errors import BackendUnavailableError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.server.fanout.channel_fanout import ChannelFanout, FastSubscriber, Subscriber
from realtime_bridge.server.fanout.channel_opener import AT_ONCE, ChannelOpener
from realtime_bridge.server.fanout.positions import apart, caught_up, covered

CHECK_SECONDS = 10.0
"""How often positions are compared with the log's, for announcements that were lost."""

CONFIRM_SECONDS = 0.5
"""How long an announcement may be under way before it counts as lost."""

RESTART_SECONDS = 1.0
"""How long a broken feed is left alone."""

_logger = logging.getLogger("realtime_bridge.server")


class Hub:
    """Fans out what the feed hears, and answers subscriptions from the log.

    Args:
        log: what recovers a gap.
        feed: what announces events; often the same object.
        on_change: called when `healthy` has changed.

    """

    def __init__(
        self, log: Log, feed: Feed, *, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._log = log
        self._feed = feed
        self._on_change = on_change
        self.healthy = False
        """Whether the log is heard, and answers: then what is fanned out here is all there is."""
        self.events = self.recoveries = self.resets = 0
        """How much was fanned out, read from the log after a gap, and lost for good."""
        self._fans: dict[str, ChannelFanout] = {}
        self._openings = ChannelOpener(self._open_all)
        self._listener: Listener | None = None
        self._changing = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        self._ready = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Tell whether subscriptions can be answered."""
        return self._ready.is_set()

    @property
    def channels(self) -> KeysView[str]:
        """The channels that somebody listens to here."""
        return self._fans.keys()

    async def wait_until_ready(self, seconds: float) -> None:
        """Wait until subscriptions can be answered, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()

    async def run(self) -> None:
        """Hear the feed until cancelled; when it breaks, hear it anew and make up for the gap."""
        while True:
            try:
                await self._listen()
            except* Exception:
                _logger.exception("the feed broke, listening anew in %g s", RESTART_SECONDS)
            await asyncio.sleep(RESTART_SECONDS)

    async def _listen(self) -> None:
        async with self._feed.listen() as listener, asyncio.TaskGroup() as tasks:
            self._listener, self._tasks = listener, tasks
            try:
                await self._follow(listener)
            finally:
                self._go_deaf()

    async def _follow(self, listener: Listener) -> None:
        assert self._tasks
        await listener.subscribe(list(self._fans))
        await self._make_sure()
        self._tasks.create_task(self._check_regularly())
        self._tasks.create_task(self._openings.run())
        self._ready.set()
        async for heard in listener:
            if isinstance(heard, FeedInterrupted):
                await self._make_sure()
            else:
                self._hear(heard)
        raise BackendUnavailableError("The feed ended by itself")

    def _go_deaf(self) -> None:
        """Leave nothing to wait for the tasks that end with the feed."""
        self._ready.clear()
        self._note_health(healthy=False)
        self._tasks = None
        self._openings.give_up("the feed broke")
        for fan in self._fans.values():
            fan.recovering = False

    def top(self, channel: str) -> int | None:
        """Return the offset that `channel` was fanned out to, if anybody here listens to it."""
        fan = self._fans.get(channel)
        return fan.position.offset if fan else None

    async def join(self, subscriber: Subscriber, channel: str, after: Position | None) -> None:
        """Answer a subscription: from `after`, or from now.

        Live events are held while the history is read; nothing is missed, and nothing comes twice.
        """
        fan = await self._open(channel)
        fan.begin(subscriber)
        try:
            if after is None:
                fan.go_live(subscriber, Page(events=(), top=fan.position), recovered=False)
                return
            answer = await self._log.read(channel, after)
            if subscriber not in fan.joining:
                return
            if isinstance(answer, Reset):
                subscriber.reset(channel, answer)
                fan.go_live(subscriber, Page(events=(), top=answer.top), recovered=False)
            elif answer.more:
                fan.set_aside(subscriber)
                subscriber.subscribed(channel, answer, recovered=True)
            else:
                fan.go_live(subscriber, answer, recovered=True)
        finally:
            fan.end(subscriber)

    def leave(self, subscriber: Subscriber, channel: str) -> None:
        """End a subscription."""
        if fan := self._fans.get(channel):
            fan.forget(subscriber)

    def readmit(self, subscriber: FastSubscriber, channel: str) -> None:
        """Note that a subscriber wants its events in another way than before."""
        if fan := self._fans.get(channel):
            fan.readmit(subscriber)

    async def _open(self, channel: str) -> ChannelFanout:
        """Return the channel's fan, opening it once however many ask."""
        while (fan := self._fans.get(channel)) is None:
            if not self.ready:
                raise BackendUnavailableError("The feed is not connected now")
            await self._openings.opened(channel)
        return fan

    async def _open_all(self, channels: list[str]) -> None:
        """Hear these channels, then begin each where the log stands."""
        assert self._listener
        async with self._changing:
            await self._listener.subscribe(channels)
        tops = await self._log.positions(channels)
        for channel in channels:
            fan = self._fans[channel] = ChannelFanout(channel, tops[channel])
            early = self._openings.finish(channel)
            self._take(fan, [event for event in early if not covered(event, fan.position)])

    def _hear(self, events: Sequence[Event]) -> None:
        by_channel: dict[str, list[Event]] = {}
        for event in events:
            by_channel.setdefault(event.channel, []).append(event)
        for channel, heard in by_channel.items():
            if fan := self._fans.get(channel):
                self._take(fan, heard)
            else:
                self._openings.hear(channel, heard)

    def _take(self, fan: ChannelFanout, events: Iterable[Event]) -> None:
        if fan.recovering:
            fan.missed = True
            return
        new = fan.continuation(events)
        if new is None:
            self._recover(fan)
        else:
            self.events += len(new)
            fan.fan_out(new)

    def _recover(self, fan: ChannelFanout) -> None:
        if fan.recovering:
            return
        assert self._tasks
        fan.recovering = True
        self.recoveries += 1
        self._tasks.create_task(self._read_on(fan))

    async def _read_on(self, fan: ChannelFanout) -> None:
        """Bring a channel to the log's top, whatever was missed."""
        _logger.info("recovering %s from %s", fan.channel, fan.position)
        while await self._read_on_once(fan):
            pass
        fan.recovering = False

    async def _read_on_once(self, fan: ChannelFanout) -> bool:
        """Read a page, and tell whether there is more; until it can be read, nothing goes on."""
        try:
            return await self._read_page(fan)
        except Exception as error:
            _logger.warning("%s cannot be recovered yet: %r", fan.channel, error)
            await asyncio.sleep(RESTART_SECONDS)
            return True

    async def _read_page(self, fan: ChannelFanout) -> bool:
        fan.missed = False
        here = fan.position
        answer = await self._log.read(fan.channel, here)
        if isinstance(answer, Reset):
            self.resets += 1
            fan.reset(await self._rotated(fan.channel, answer, here))
            return fan.missed
        self.events += len(answer.events)
        fan.fan_out(answer.events)
        return answer.more or fan.missed

    async def _rotated(self, channel: str, answer: Reset, here: Position) -> Reset:
        """End the epoch of a log that no longer holds what it announced to us: it lost its tail.

        What it has there instead must never follow what our clients have seen.
        """
        if answer.top.epoch != here.epoch or answer.reason not in ("ahead", "regressed"):
            return answer
        _logger.warning("the log of %s lost events that were delivered: a new epoch", channel)
        return Reset(reason="regressed", top=await self._log.rotate_epoch(channel, here.epoch))

    async def _check_regularly(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS if self.healthy else RESTART_SECONDS)
            try:
                await self._close_unused()
                await self._check(confirm=CONFIRM_SECONDS)
            except Exception:
                _logger.exception("the regular check failed, the next is in %g s", CHECK_SECONDS)

    async def _make_sure(self) -> None:
        """Compare positions before anything else is fanned out, however long that takes."""
        while True:
            if await self._check(confirm=0):
                return
            await asyncio.sleep(RESTART_SECONDS)

    async def _check(self, *, confirm: float) -> bool:
        """Recover every channel that is apart from the log, and still is after `confirm` seconds.

        Return whether the log answered.
        """
        before = {channel: fan.position for channel, fan in self._fans.items()}
        try:
            tops = await self._positions(list(before))
        except RealtimeError as error:
            _logger.warning("positions cannot be compared: %s", error)
            self._note_health(healthy=False)
            return False
        self._note_health(healthy=True)
        suspects = [name for name, top in tops.items() if apart(before[name], top)]
        if suspects and confirm:
            await asyncio.sleep(confirm)
        for channel in suspects:
            fan = self._fans.get(channel)
            if fan and not caught_up(fan.position, before[channel], tops[channel]):
                self._recover(fan)
        return True

    def _note_health(self, *, healthy: bool) -> None:
        if healthy != self.healthy:
            self.healthy = healthy
            self._on_change()

    async def _positions(self, channels: list[str]) -> dict[str, Position]:
        """Ask the log for many channels, a bounded number at once."""
        tops: dict[str, Position] = {}
        for start in range(0, len(channels), AT_ONCE):
            tops |= await self._log.positions(channels[start : start + AT_ONCE])
        return tops

    async def _close_unused(self) -> None:
        unused = [channel for channel, fan in self._fans.items() if not fan.used]
        for channel in unused:
            del self._fans[channel]
        async with self._changing:
            assert self._listener
            await self._listener.unsubscribe(unused)
