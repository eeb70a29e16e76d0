"""Memory backend: contracts of a log and of a feed, gaps, and expiry."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import count, pairwise

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.backend.listener_queue import CAPACITY, YIELD_EVENTS
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing import plain_append
from realtime_bridge.protocol.publishing.history import DAY
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.settings import Settings
from realtime_bridge.testing import FeedContract, FoldingLogContract, LogContract
from realtime_bridge.testing.contracts.folding_histories import Elapse
from realtime_bridge.testing.contracts.log_base import make_event
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends import memory
from realtime_bridge_backends.memory import (
    EXPIRE_CHANNELS,
    EXPIRE_SECONDS,
    Histories,
    MemoryBackend,
)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sender(clock: Clock) -> AsyncIterator[MemoryBackend]:
    async with MemoryBackend(clock=clock) as backend:
        yield backend


class TestLog(LogContract):
    pass


class TestFoldingLog(FoldingLogContract):
    @pytest.fixture
    async def sender(self, clock: Clock) -> AsyncIterator[MemoryBackend]:
        async with MemoryBackend(Retention(seconds=10**9), clock=clock) as backend:
            yield backend

    @pytest.fixture
    def elapse(self, clock: Clock) -> Elapse:
        async def advance(_: str, seconds: float) -> None:
            clock.now += seconds

        return advance


@pytest.fixture
def without_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Append in Python, as where nothing could be compiled."""
    monkeypatch.setattr(plain_append, "append_plain", None)
    monkeypatch.setattr(memory, "append_now", None)


@pytest.mark.usefixtures("without_c")
class TestLogInPython(TestLog):
    pass


@pytest.mark.usefixtures("without_c")
class TestFoldingLogInPython(TestFoldingLog):
    pass


class OneByOne(MemoryBackend):
    """Log that appends the events of a batch one at a time, as single publishes do."""

    append_now = MemoryBackend.append_now

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        receipts: list[Receipt] = []
        for event in events:
            receipt = self.append_now(event)
            receipts += [receipt] if receipt else await super().append([event])
        return receipts


class TestLogOneByOne(LogContract):
    @pytest.fixture
    def sender(self) -> MemoryBackend:
        return OneByOne()


class TestFoldingLogOneByOne(TestFoldingLog):
    @pytest.fixture
    async def sender(self, clock: Clock) -> AsyncIterator[MemoryBackend]:
        async with OneByOne(Retention(seconds=10**9), clock=clock) as backend:
            yield backend


@pytest.mark.usefixtures("without_c")
class TestFoldingLogOneByOneInPython(TestFoldingLogOneByOne):
    pass


class TestLogWithShortHistory(LogContract):
    history_events = 600

    @pytest.fixture
    def sender(self) -> MemoryBackend:
        return MemoryBackend(Retention(events=600))


class TestFeed(FeedContract):
    @pytest.fixture
    def receiver(self, sender: MemoryBackend) -> MemoryBackend:
        return sender


class TestFeedOneByOne(TestFeed):
    @pytest.fixture
    def sender(self) -> MemoryBackend:
        return OneByOne()


async def test_slow_listener_gets_a_gap_and_later_events(sender: MemoryBackend) -> None:
    async with sender.listen() as listener:
        await listener.subscribe(["job.7"])
        for start in range(1, CAPACITY, 500):
            await sender.append(numbered("job.7", 500, start=start))
        await sender.append(numbered("job.7", 2, start=CAPACITY + 1))
        stream = aiter(listener)
        assert await anext(stream) == FeedInterrupted()
        assert await next_steps(stream) == [CAPACITY + 1, CAPACITY + 2]
        await sender.append(numbered("job.7", 1, start=6))
        assert await next_steps(stream) == [6]


async def next_steps(stream: AsyncIterator[Sequence[Event] | FeedInterrupted]) -> list[int]:
    events = await anext(stream)
    assert not isinstance(events, FeedInterrupted)
    return [event.data["step"] for event in events]


async def test_publisher_in_a_tight_loop_causes_no_gap(sender: MemoryBackend) -> None:
    total = CAPACITY * 2
    async with sender.listen() as listener, asyncio.timeout(30):
        await listener.subscribe(["job.7"])

        async def count_events() -> int:
            count = 0
            async for events in listener:
                assert not isinstance(events, FeedInterrupted)
                count += len(events)
                if count == total:
                    break
            return count

        counting = asyncio.create_task(count_events())
        for _ in range(total // 200):
            await sender.append(numbered("job.7", 200))
        assert await counting == total


async def test_single_publishes_in_a_tight_loop_cause_no_gap(sender: MemoryBackend) -> None:
    total = CAPACITY + 1_000
    async with sender.listen() as listener, asyncio.timeout(30):
        await listener.subscribe(["job.7"])

        async def steps() -> list[int]:
            received: list[int] = []
            stream = aiter(listener)
            while len(received) < total:
                received += await next_steps(stream)
            return received

        reading = asyncio.create_task(steps())
        broadcaster = Broadcaster(log=sender)
        for step in range(total):
            await broadcaster.publish("job.7", "job.step", {"step": step})
        assert await reading == list(range(total))
        assert broadcaster.published == total


async def test_append_now_waits_for_listeners_that_have_to_run(sender: MemoryBackend) -> None:
    async with sender.listen() as listener:
        await listener.subscribe(["job.7"])
        steps = numbered("job.7", YIELD_EVENTS + 1)
        receipts = [sender.append_now(event) for event in steps]
        offsets = [receipt and receipt.position and receipt.position.offset for receipt in receipts]
        assert offsets == [*range(1, YIELD_EVENTS + 1), None]
        (receipt,) = await sender.append(steps[-1:])
        assert receipt.position
        assert receipt.position.offset == YIELD_EVENTS + 1


async def test_log_with_its_own_append_gets_every_publish() -> None:
    class Counting(MemoryBackend):
        count = 0

        async def append(self, events: Sequence[Event]) -> list[Receipt]:
            self.count += len(events)
            return await super().append(events)

    log = Counting()
    await Broadcaster(log=log).publish("job.7", "job.step", {})
    assert log.count == 1


async def let_expire(sender: MemoryBackend, clock: Clock, channels: int) -> None:
    """Append to another channel until so many channels were checked."""
    for _ in range(channels):
        clock.now += 2 * EXPIRE_SECONDS
        await sender.append(numbered("busy", 1))


async def test_unused_channel_expires_ten_minutes_after_it_was_read(
    sender: MemoryBackend, clock: Clock
) -> None:
    channels = [f"job.{number}" for number in range(10)]
    before = await sender.positions(channels)
    clock.now += 601
    await let_expire(sender, clock, len(channels))
    after = await sender.positions(channels)
    assert all(after[channel].epoch != before[channel].epoch for channel in channels)


async def test_channel_that_is_read_keeps_its_epoch_without_an_event(
    sender: MemoryBackend, clock: Clock
) -> None:
    before = await sender.positions(["job.7"])
    for _ in range(3):
        clock.now += 400
        await let_expire(sender, clock, 1)
        assert await sender.positions(["job.7"]) == before


async def test_used_channel_expires_after_a_week(sender: MemoryBackend, clock: Clock) -> None:
    await sender.append(numbered("job.7", 3))
    before = (await sender.positions(["job.7"]))["job.7"]
    clock.now += 7 * DAY - 1
    await sender.append(numbered("busy", 1))
    assert await sender.read("job.7", before) == Page(events=(), top=before)
    clock.now += 2
    await sender.append(numbered("busy", 1))
    answer = await sender.read("job.7", before)
    assert isinstance(answer, Reset)
    assert answer.reason == "epoch"


async def test_history_expires_ten_minutes_after_last_append(
    sender: MemoryBackend, clock: Clock
) -> None:
    await sender.append(numbered("job.7", 3))
    top = (await sender.positions(["job.7"]))["job.7"]
    clock.now += 601
    behind = type(top)(top.epoch, 1)
    assert await sender.read("job.7", behind) == Reset(reason="truncated", top=top)
    assert await sender.read("job.7", top) == Page(events=(), top=top)


async def test_log_with_many_channels_stays_small(sender: MemoryBackend, clock: Clock) -> None:
    for number in range(1_000):
        await sender.positions([f"job.{number}"])
        clock.now += 10
    assert sender.channel_count < 200


async def test_every_log_has_its_own_epochs() -> None:
    one, other = MemoryBackend(), MemoryBackend()
    assert await one.positions(["job.7"]) != await other.positions(["job.7"])


async def test_settings_limit_the_history() -> None:
    backend = MemoryBackend.from_settings(Settings(history_events=2))
    await backend.append(numbered("job.7", 4))
    top = (await backend.positions(["job.7"]))["job.7"]
    assert isinstance(await backend.read("job.7", type(top)(top.epoch, 3)), Page)
    assert isinstance(await backend.read("job.7", type(top)(top.epoch, 2)), Reset)


def test_name_for_messages() -> None:
    assert str(MemoryBackend()) == "the memory log"


class TestBound:
    def create(self, *, max_bytes: int = 100_000) -> MemoryBackend:
        return MemoryBackend(max_bytes=max_bytes)

    async def test_oldest_channel_loses_its_history_first(self) -> None:
        log = self.create()
        data = "x" * 9_000
        for number in range(9):
            await log.append([make_event(f"job.{number}", data)])
        await log.append([make_event("job.0", data)])  # job.1 is the oldest now
        await log.append([make_event("job.10", data)])
        assert log.byte_count <= 100_000
        tops = await log.positions(["job.0", "job.1", "job.10"])
        start = {name: Position(top.epoch, 0) for name, top in tops.items()}
        lost = await log.read("job.1", start["job.1"])
        assert lost == Reset(reason="truncated", top=tops["job.1"])
        assert isinstance(await log.read("job.10", start["job.10"]), Page)
        (receipt,) = await log.append([make_event("job.1", data)])
        assert receipt.position == Position(tops["job.1"].epoch, 2)

    async def test_history_goes_before_latest_events(self) -> None:
        log = self.create()
        await log.append([make_event("job.0", "done", key="k")])
        for number in range(1, 20):
            await log.append([make_event(f"job.{number}", "x" * 9_000)])
        assert log.byte_count <= 100_000
        assert [event.data for event in (await log.latest("job.0")).events] == ["done"]

    async def test_latest_events_of_oldest_channel_go_with_its_epoch(self) -> None:
        log = self.create()
        (before,) = await log.append([make_event("job.0", "x" * 9_000, key="k")])
        for number in range(1, 20):
            await log.append([make_event(f"job.{number}", "x" * 9_000, key="k")])
        assert log.byte_count <= 100_000
        assert before.position
        answer = await log.read("job.0", before.position)
        assert isinstance(answer, Reset)
        assert answer.reason == "epoch"
        assert (await log.latest("job.0")).events == ()
        assert len((await log.latest("job.19")).events) == 1

    async def test_last_event_stays_even_beyond_the_bound(self) -> None:
        log = self.create(max_bytes=1)
        for step in range(3):
            (receipt,) = await log.append([make_event("job.7", step)])
        assert receipt.position == Position(receipt.position.epoch if receipt.position else "", 3)
        page = await log.read("job.7", Position(receipt.position.epoch, 2))
        assert page == Reset(reason="truncated", top=receipt.position)

    async def test_expired_channels_give_their_bytes_back(self, clock: Clock) -> None:
        log = MemoryBackend(clock=clock)
        await log.append([make_event("job.7", 1, key="k"), make_event("job.7", 2)])
        assert log.byte_count > 1_000
        clock.now += 8 * DAY
        await log.positions(["job.8", "job.9"])
        assert (log.byte_count, log.channel_count) == (0, 2)

    def test_bound_is_a_setting(self) -> None:
        assert Settings().log_bytes == 256 * 1024 * 1024
        with pytest.raises(ConfigurationError, match="REALTIME_LOG_BYTES"):
            Settings(log_bytes=0)


def test_append_expires_a_few_channels_and_keeps_the_used_one() -> None:
    epochs = (f"{number:08}" for number in count())
    histories = Histories(Retention(), lambda: next(epochs), max_bytes=10**6)
    unused = [f"unused.{number}" for number in range(2 * EXPIRE_CHANNELS)]
    for channel in unused:
        histories.of(channel, 0.0)
    histories.append([make_event("job.7", None)], now=1.0, time=1)
    sizes = [len(histories)]
    for second in range(4):
        histories.append([make_event("job.7", None)], now=700.0 + second, time=1)
        sizes.append(len(histories))
    assert max(before - after for before, after in pairwise(sizes)) == EXPIRE_CHANNELS
    assert (sizes[0], sizes[-1]) == (len(unused) + 1, 1)
    assert histories.of("job.7", 704.0).top.offset == 5


async def test_largest_retention_takes_events() -> None:
    retention = Settings(
        history_events=2**31 - 1, history_bytes=2**40, history_seconds=604_800
    ).retention
    async with MemoryBackend(retention, max_bytes=2**40) as backend:
        for number in range(3):
            (receipt,) = await backend.append([make_event("user-42", number)])
        assert receipt.position
        assert receipt.position.offset == 3
