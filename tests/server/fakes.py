"""Fakes of feeds and logs with network faults, and a recording subscriber."""

import asyncio
import selectors
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import orjson

from realtime_bridge.backend.feed import Feed, FeedInterrupted, Listener
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import History
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.settings import Settings
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.harness import TIMEOUT

Pause = Callable[[], Awaitable[None]]


def numbered(channel: str, count: int, *, start: int = 1) -> list[Event]:
    return [
        Event(channel=channel, event="job.step", data=number, id=f"{channel}-{number}")
        for number in range(start, start + count)
    ]


class Gate:
    """Lets calls pass, until it is closed."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()
        self._opened.set()
        self._passes = 0

    def close_after(self, calls: int) -> None:
        """Hold up all calls but the next so many."""
        self._passes = calls
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()

    async def wait(self) -> None:
        if self._passes:
            self._passes -= 1
        elif not self._opened.is_set():
            self.reached.set()
            await self._opened.wait()

    async def allow(self, *_: object, **__: object) -> bool:
        """Stand for a rule that takes its time."""
        await self.wait()
        return True


class FakeListener(Listener):
    """Listener that receives what the test announces."""

    def __init__(self, feed: "FakeFeed") -> None:
        self._feed = feed
        self.channels: set[str] = set()
        self.items: asyncio.Queue[Sequence[Event] | FeedInterrupted | Exception | None] = (
            asyncio.Queue()
        )

    async def subscribe(self, channels: Iterable[str]) -> None:
        names = list(channels)
        await self._feed.pause()
        if self._feed.add_fails and names:
            raise self._feed.add_fails
        self.channels.update(names)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        await self._feed.pause()
        if self._feed.discard_fails:
            raise self._feed.discard_fails
        self.channels.difference_update(channels)

    async def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        while (item := await self.items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item


class FakeFeed(Feed):
    """Feed that announces what the test passes: late, twice, or never."""

    def __init__(self, pause: Pause | None = None) -> None:
        self.pause = pause or _at_once
        self.listener: FakeListener | None = None
        self.opened = 0
        self.add_fails: Exception | None = None
        self.discard_fails: Exception | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls()

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        await self.pause()
        self.opened += 1
        self.listener = FakeListener(self)
        try:
            yield self.listener
        finally:
            self.listener = None

    def announce(self, *items: Sequence[Event] | FeedInterrupted | Exception | None) -> None:
        """Announce these to the listener of their channel, if there is one."""
        if self.listener is None:
            return
        for item in items:
            if not isinstance(item, Sequence):
                self.listener.items.put_nowait(item)
            elif announced := [event for event in item if event.channel in self.listener.channels]:
                self.listener.items.put_nowait(announced)


class SlowLog(Log):
    """The memory log, whose every answer lets others take their turn, as a network's would."""

    def __init__(self, pause: Pause | None = None) -> None:
        self._pause = pause or _at_once
        self.memory = MemoryBackend()
        self.reads = 0
        self.position_calls = 0
        self.fails: Exception | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        return await self.memory.append(events)

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        self.reads += 1
        await self._wait()
        answer = await self.memory.read(channel, after, limit)
        await self._pause()
        return answer

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        names = list(channels)
        self.position_calls += 1
        await self._wait()
        tops = await self.memory.positions(names)
        await self._pause()
        return tops

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        await self._wait()
        return await self.memory.latest(channel, after=after, limit=limit)

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        return await self.memory.rotate_epoch(channel, expected_epoch)

    async def from_trusted(self, events: Sequence[Event]) -> list[Event]:
        """Append, and return the events as the log announces them."""
        receipts = await self.append(events)
        return [
            event.with_position(receipt.position, 1)
            for event, receipt in zip(events, receipts, strict=True)
        ]

    def lose(self, channel: str, count: int) -> None:
        """Lose the last events of a channel, as a failover to a lagging replica does."""
        before = self.memory._histories.of(channel, time.monotonic())
        after = History(before.top.epoch, now=time.monotonic(), retention=Retention())
        for event in list(before._events)[: before.top.offset - count]:
            after.append(event, now=time.monotonic(), time=1)
        self.memory._histories._by_channel[channel] = after

    async def _wait(self) -> None:
        await self._pause()
        if self.fails:
            raise self.fails


class FakeBackend(SlowLog, FakeFeed):
    """Log that is a feed too, and that the test can break."""

    remote_access_via = None

    def __init__(self) -> None:
        SlowLog.__init__(self)
        FakeFeed.__init__(self)


class Recorder(Subscriber):
    """A subscriber that writes down what it got, and checks that nothing is missing between."""

    def __init__(self) -> None:
        self.here: Position | None = None
        self.offsets: list[int] = []
        self.data: list[Any] = []
        self.resets: list[Reset] = []
        self.answers: list[tuple[Page, bool]] = []
        self.takes = True
        self.patience = TIMEOUT
        self.broken: list[str] = []
        self.news = asyncio.Event()

    async def subscribe(self, hub: Hub, channel: str, after: Position | None) -> None:
        await hub.subscribe(self, ChannelSubscription(channel), after)

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:
        if not self.takes:
            return False
        for message in messages:
            fields = orjson.loads(message)
            self._step(Position(fields["epoch"], fields["offset"], fields["id"]), fields["data"])
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        self.answers.append((page, recovered))
        for event in page.events:
            assert event.position
            self._step(event.position, event.data)
        if not page.more:
            self.here = page.top
        self.news.set()

    def reset(self, channel: str, reset: Reset) -> None:
        self.resets.append(reset)
        self.here = reset.top
        self.news.set()

    def _step(self, place: Position, data: Any) -> None:
        follows = self.here and place == Position(self.here.epoch, self.here.offset + 1)
        if not follows:
            self.broken.append(f"{place} after {self.here}")
        self.here = place
        self.offsets.append(place.offset)
        self.data.append(data)
        self.news.set()

    async def reaches(self, offset: int) -> None:
        await self.sees(lambda: self.here is not None and self.here.offset >= offset)

    async def sees(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(self.patience):
            while not condition():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def running_hub(
    log: Log,
    feed: Feed,
    timing: ServerTiming = ServerTiming(),  # noqa: B008 -- it is frozen
) -> AsyncGenerator[Hub]:
    """Run a hub."""
    hub = Hub(log, feed, timing=timing)
    async with Supervisor(timing=timing.supervision) as tasks:
        tasks.run("feed", hub.run)
        await hub.wait_until_ready(TIMEOUT)
        yield hub


class _Skipping(selectors.SelectSelector):
    """Waits for nothing: the clock is put forward instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever happen any more"
        self.now += timeout
        return super().select(0)


class TimelessLoop(asyncio.SelectorEventLoop):
    """A loop in which hours pass in no time, and always in the same order."""

    def __init__(self) -> None:
        self._clock = _Skipping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


async def _at_once() -> None:
    return
