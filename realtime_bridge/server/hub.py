"""Who in this process listens to which channel, and how it stays in step with the log."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby

from realtime_bridge.backend import Feed, Interrupted, Listener, Log, Page, Reset
from realtime_bridge.errors import BackendUnavailableError, RealtimeError
from realtime_bridge.event import Event, Position
from realtime_bridge.server.fan import Fan, Subscriber

CHECK_SECONDS = 10.0
"""How often positions are compared with the log's, for announcements that were lost."""

CONFIRM_SECONDS = 0.5
"""How long an announcement may be under way before it counts as lost."""

RESTART_SECONDS = 1.0
"""How long a broken feed is left alone."""

_logger = logging.getLogger("realtime_bridge.server")


class _Opening:
    """A channel that is being opened: who waits for it, and what was heard before it was."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.early: list[Event] = []

    def fail(self, problem: object) -> None:
        if not self.opened.done():
            self.opened.set_exception(BackendUnavailableError(f"It cannot be heard now: {problem}"))
            self.opened.exception()


class Hub:
    """Fans out what the feed hears, and answers subscriptions from the log.

    Args:
        log: what recovers a gap.
        feed: what announces events; often the same object.

    """

    def __init__(self, log: Log, feed: Feed) -> None:
        self._log = log
        self._feed = feed
        self._fans: dict[str, Fan] = {}
        self._opening: dict[str, _Opening] = {}
        self._listener: Listener | None = None
        self._changing = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        self._ready = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Tell whether subscriptions can be answered."""
        return self._ready.is_set()

    @property
    def channels(self) -> int:
        """The number of channels that somebody listens to here."""
        return len(self._fans)

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
        await listener.add(list(self._fans))
        await self._check(confirm=0)
        self._tasks.create_task(self._check_regularly())
        self._ready.set()
        async for heard in listener:
            if isinstance(heard, Interrupted):
                await self._check(confirm=0)
            else:
                self._hear(heard)
        raise BackendUnavailableError("The feed ended by itself")

    def _go_deaf(self) -> None:
        """Leave nothing to wait for the tasks that end with the feed."""
        self._ready.clear()
        self._tasks = None
        while self._opening:
            self._opening.popitem()[1].fail("the feed broke")
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
        fan.forget(subscriber)
        fan.joining[subscriber] = []
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
                fan.idle.add(subscriber)
                subscriber.subscribed(channel, answer, recovered=True)
            else:
                fan.go_live(subscriber, answer, recovered=True)
        finally:
            fan.joining.pop(subscriber, None)

    def leave(self, subscriber: Subscriber, channel: str) -> None:
        """End a subscription."""
        if fan := self._fans.get(channel):
            fan.forget(subscriber)

    async def _open(self, channel: str) -> Fan:
        """Return the channel's fan, opening it once however many ask."""
        while (fan := self._fans.get(channel)) is None:
            opening = self._opening.get(channel)
            if opening is None:
                if self._tasks is None or not self.ready:
                    raise BackendUnavailableError("The feed is not connected now")
                opening = self._opening[channel] = _Opening()
                self._tasks.create_task(self._begin(channel, opening))
            await asyncio.shield(opening.opened)
        return fan

    async def _begin(self, channel: str, opening: "_Opening") -> None:
        assert self._listener
        try:
            async with self._changing:
                await self._listener.add([channel])
            tops = await self._log.positions([channel])
        except Exception as error:
            _logger.warning("%s cannot be opened: %r", channel, error)
            self._opening.pop(channel, None)
            opening.fail(error)
            return
        del self._opening[channel]
        fan = self._fans[channel] = Fan(channel, tops[channel])
        opening.opened.set_result(None)
        self._take(fan, opening.early)

    def _hear(self, events: Sequence[Event]) -> None:
        by_channel = sorted(events, key=_channel) if len(events) > 1 else events
        for channel, heard in groupby(by_channel, key=_channel):
            if fan := self._fans.get(channel):
                self._take(fan, heard)
            elif opening := self._opening.get(channel):
                opening.early.extend(heard)

    def _take(self, fan: Fan, events: Iterable[Event]) -> None:
        if fan.recovering:
            fan.missed = True
            return
        new = fan.continuation(events)
        if new is None:
            self._recover(fan)
        else:
            fan.fan_out(new)

    def _recover(self, fan: Fan) -> None:
        if fan.recovering:
            return
        assert self._tasks
        fan.recovering = True
        self._tasks.create_task(self._read_on(fan))

    async def _read_on(self, fan: Fan) -> None:
        """Bring a channel to the log's top, whatever was missed."""
        _logger.info("recovering %s from %s", fan.channel, fan.position)
        try:
            while await self._read_page(fan):
                pass
        except Exception as error:
            _logger.warning("%s cannot be recovered yet: %r", fan.channel, error)
        finally:
            fan.recovering = False

    async def _read_page(self, fan: Fan) -> bool:
        fan.missed = False
        answer = await self._log.read(fan.channel, fan.position)
        if isinstance(answer, Reset):
            fan.reset(answer)
            return fan.missed
        fan.fan_out(answer.events)
        return answer.more or fan.missed

    async def _check_regularly(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._close_unused()
                await self._check(confirm=CONFIRM_SECONDS)
            except Exception:
                _logger.exception("the regular check failed, the next is in %g s", CHECK_SECONDS)

    async def _check(self, *, confirm: float) -> None:
        """Recover every channel that is behind the log, and still is after `confirm` seconds."""
        try:
            tops = await self._log.positions(list(self._fans))
        except RealtimeError as error:
            _logger.warning("positions cannot be compared: %s", error)
            return
        suspects = [channel for channel, top in tops.items() if self._is_behind(channel, top)]
        if suspects and confirm:
            await asyncio.sleep(confirm)
        for channel in suspects:
            if self._is_behind(channel, tops[channel]):
                self._recover(self._fans[channel])

    def _is_behind(self, channel: str, top: Position) -> bool:
        fan = self._fans.get(channel)
        if fan is None:
            return False
        return top.epoch != fan.position.epoch or top.offset > fan.position.offset

    async def _close_unused(self) -> None:
        unused = [channel for channel, fan in self._fans.items() if not fan.used]
        for channel in unused:
            del self._fans[channel]
        async with self._changing:
            assert self._listener
            await self._listener.discard(unused)


def _channel(event: Event) -> str:
    return event.channel
