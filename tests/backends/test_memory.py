"""The memory backend keeps the contracts of a log and of a feed, and never grows for ever."""

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from realtime_bridge.backend import listener_queue as module
from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.model.page import Page
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing.history import DAY
from realtime_bridge.settings import Settings
from realtime_bridge.testing import FeedContract, LogContract
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends import memory
from realtime_bridge_backends.memory import LOOK_SECONDS, MemoryBackend


@pytest.fixture
async def sender() -> AsyncIterator[MemoryBackend]:
    async with MemoryBackend() as backend:
        yield backend


class TestTheLog(LogContract):
    pass


class TestTheLogWithAShortHistory(LogContract):
    history_events = 600

    @pytest.fixture
    def sender(self) -> MemoryBackend:
        return MemoryBackend(Retention(events=600))


class TestTheFeed(FeedContract):
    @pytest.fixture
    def receiver(self, sender: MemoryBackend) -> MemoryBackend:
        return sender


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(memory, "time", SimpleNamespace(monotonic=clock, time_ns=time.time_ns))
    return clock


async def test_a_listener_that_lags_too_far_behind_is_interrupted_and_goes_on(
    sender: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    async with sender.listen() as listener:
        await listener.subscribe(["job.7"])
        for event in numbered("job.7", 5):
            await sender.append([event])
        stream = aiter(listener)
        assert await anext(stream) == FeedInterrupted()
        heard = await anext(stream)
        assert not isinstance(heard, FeedInterrupted)
        assert [event.data["step"] for event in heard] == [4, 5]
        await sender.append(numbered("job.7", 1, start=6))
        heard = await anext(stream)
        assert not isinstance(heard, FeedInterrupted)
        assert [event.data["step"] for event in heard] == [6]


async def test_a_publisher_in_a_tight_loop_interrupts_no_listener(sender: MemoryBackend) -> None:
    total = module.MAX_WAITING * 2
    async with sender.listen() as listener, asyncio.timeout(30):
        await listener.subscribe(["job.7"])

        async def count_heard() -> int:
            heard = 0
            async for turn in listener:
                assert not isinstance(turn, FeedInterrupted)
                heard += len(turn)
                if heard == total:
                    break
            return heard

        counting = asyncio.create_task(count_heard())
        for _ in range(total // 200):
            await sender.append(numbered("job.7", 200))
        assert await counting == total


async def test_a_channel_that_was_never_used_is_let_go_after_ten_minutes(
    sender: MemoryBackend, clock: Clock
) -> None:
    channels = [f"job.{number}" for number in range(10)]
    before = await sender.positions(channels)
    clock.now += 599
    assert await sender.positions(channels) == before
    clock.now += 2
    for _ in channels:
        clock.now += 2 * LOOK_SECONDS
        await sender.append(numbered("busy", 1))
    after = await sender.positions(channels)
    assert all(after[channel].epoch != before[channel].epoch for channel in channels)


async def test_a_used_channel_is_remembered_for_a_week(sender: MemoryBackend, clock: Clock) -> None:
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


async def test_history_ends_ten_minutes_after_the_last_append(
    sender: MemoryBackend, clock: Clock
) -> None:
    await sender.append(numbered("job.7", 3))
    top = (await sender.positions(["job.7"]))["job.7"]
    clock.now += 601
    behind = type(top)(top.epoch, 1)
    assert await sender.read("job.7", behind) == Reset(reason="truncated", top=top)
    assert await sender.read("job.7", top) == Page(events=(), top=top)


async def test_a_busy_log_lets_go_of_as_many_channels_as_it_makes(
    sender: MemoryBackend, clock: Clock
) -> None:
    for number in range(1_000):
        await sender.positions([f"job.{number}"])
        clock.now += 10
    assert len(sender._channels) < 200


async def test_every_process_has_its_own_epochs() -> None:
    one, other = MemoryBackend(), MemoryBackend()
    assert await one.positions(["job.7"]) != await other.positions(["job.7"])


async def test_it_keeps_what_the_settings_say() -> None:
    backend = MemoryBackend.from_settings(Settings(history_events=2))
    await backend.append(numbered("job.7", 4))
    top = (await backend.positions(["job.7"]))["job.7"]
    assert isinstance(await backend.read("job.7", type(top)(top.epoch, 3)), Page)
    assert isinstance(await backend.read("job.7", type(top)(top.epoch, 2)), Reset)


def test_it_says_what_it_is() -> None:
    assert str(MemoryBackend()) == "the memory log"
