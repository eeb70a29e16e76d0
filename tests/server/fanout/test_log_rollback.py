"""Tests of a log that lost its tail: a new epoch, and no merged history."""

import asyncio
from collections.abc import AsyncIterator, Collection

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeFeed, Gate, Recorder, SlowLog, numbered, running_hub
from tests.server.harness import until

CHANNEL = "job.7"
REGRESSED = ("regressed",)
FREQUENT_CHECKS = ServerTiming(position_check=0.005, announcement=0.001, restart=0.005)


@pytest.fixture
def log() -> SlowLog:
    return SlowLog()


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
async def hub(log: SlowLog, feed: FakeFeed) -> AsyncIterator[Hub]:
    async with running_hub(log, feed, FREQUENT_CHECKS) as hub:
        yield hub


def others(count: int, *, start: int) -> list[Event]:
    """Make events that take the place of numbered ones."""
    return [Event(channel=CHANNEL, event="job.other", data=-n) for n in range(start, start + count)]


async def at_five(hub: Hub, log: SlowLog, feed: FakeFeed) -> Recorder:
    """Return a subscriber that was given five events."""
    recorder = Recorder()
    await recorder.subscribe(hub, CHANNEL, None)
    feed.announce(await log.from_trusted(numbered(CHANNEL, 5)))
    await recorder.reaches(5)
    return recorder


async def starts_a_new_epoch(recorder: Recorder, *, reasons: Collection[str] = REGRESSED) -> None:
    await recorder.sees(lambda: recorder.resets)
    (reset,) = recorder.resets
    assert reset.reason in reasons
    assert recorder.data == [1, 2, 3, 4, 5]
    assert recorder.broken == []


async def test_position_check_finds_a_shorter_log(hub: Hub, log: SlowLog, feed: FakeFeed) -> None:
    recorder = await at_five(hub, log, feed)
    log.lose(CHANNEL, 2)
    await starts_a_new_epoch(recorder)


async def test_position_check_finds_another_event_at_a_position(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    recorder = await at_five(hub, log, feed)
    log.lose(CHANNEL, 1)
    await log.append(others(1, start=5))
    await starts_a_new_epoch(recorder)


async def test_announcement_of_an_earlier_position_is_a_rollback(
    log: SlowLog, feed: FakeFeed
) -> None:
    async with running_hub(log, feed, ServerTiming(position_check=3_600)) as hub:
        recorder = await at_five(hub, log, feed)
        await until(lambda: hub.healthy)
        log.lose(CHANNEL, 3)
        feed.announce(await log.from_trusted(others(1, start=3)))
        await starts_a_new_epoch(recorder)


async def test_rolled_back_log_is_not_merged_after_feed_outage(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    recorder = await at_five(hub, log, feed)
    log.lose(CHANNEL, 2)
    *_, sixth = await log.from_trusted(others(3, start=4))
    feed.announce(FeedInterrupted(), [sixth])
    await starts_a_new_epoch(recorder)


async def test_rolled_back_log_is_not_merged_during_log_outage(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    recorder = await at_five(hub, log, feed)
    log.lose(CHANNEL, 2)
    *_, sixth = await log.from_trusted(others(3, start=4))
    log.fails = BackendUnavailableError("It is away")
    feed.announce(FeedInterrupted(), [sixth])
    await until(lambda: not hub.healthy)
    assert recorder.offsets == [1, 2, 3, 4, 5]
    log.fails = None
    await starts_a_new_epoch(recorder)
    assert hub.healthy


async def test_unreadable_gap_is_read_before_later_events(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    recorder = await at_five(hub, log, feed)
    log.lose(CHANNEL, 2)
    *_, sixth, seventh = await log.from_trusted(others(4, start=4))
    log.fails = BackendUnavailableError("It is away")
    feed.announce([seventh])
    await until(lambda: hub.fanouts[CHANNEL].recovering)
    feed.announce([sixth])
    await until(lambda: feed.listener and feed.listener.items.empty())
    log.fails = None
    await starts_a_new_epoch(recorder)


async def test_events_after_a_new_epoch_are_received_by_all(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    recorder = await at_five(hub, log, feed)
    log.lose(CHANNEL, 2)
    await starts_a_new_epoch(recorder)
    feed.announce(await log.from_trusted(numbered(CHANNEL, 2, start=6)))
    await recorder.reaches(2)
    assert recorder.data == [1, 2, 3, 4, 5, 6, 7]


async def test_rollback_behind_a_subscriber_ahead_of_the_feed(log: SlowLog, feed: FakeFeed) -> None:
    async with running_hub(log, feed, ServerTiming(position_check=3_600)) as hub:
        behind, ahead = Recorder(), Recorder()
        await behind.subscribe(hub, CHANNEL, None)
        start = hub.fanouts[CHANNEL].position
        events = await log.from_trusted(numbered(CHANNEL, 5))
        await ahead.subscribe(hub, CHANNEL, start)
        assert ahead.data == [1, 2, 3, 4, 5]
        log.lose(CHANNEL, 1)
        other = await log.from_trusted(others(1, start=5))

        feed.announce([*events[:4], *other])

        await behind.reaches(5)
        await ahead.sees(lambda: ahead.resets)
        assert (ahead.resets[0].reason, ahead.resets[0].top.offset) == ("regressed", 5)
        assert behind.data == [1, 2, 3, 4, -5]
        assert behind.resets == []


@pytest.mark.parametrize(("after", "refilled"), [(0, 0), (0, 1), (5, 0), (5, 1)])
async def test_history_of_a_rolled_back_log_is_not_merged_with_announced_events(
    log: SlowLog, feed: FakeFeed, after: int, refilled: int
) -> None:
    async with running_hub(log, feed, ServerTiming(position_check=3_600, announcement=0)) as hub:
        first, second = Recorder(), Recorder()
        await first.subscribe(hub, CHANNEL, None)
        start = hub.fanouts[CHANNEL].position
        feed.announce(await log.from_trusted(numbered(CHANNEL, 5)))
        await first.reaches(5)
        last = await log.from_trusted(numbered(CHANNEL, 1, start=6))
        log.lose(CHANNEL, 2)
        await log.append(others(refilled, start=5))

        position = first.here if after else start
        subscribing = asyncio.create_task(second.subscribe(hub, CHANNEL, position))
        feed.announce(last)
        await subscribing

        await second.sees(lambda: second.resets)
        assert second.data == []
        assert first.here == second.here
        assert [reset.reason for reset in first.resets] == ["regressed"]


async def test_history_of_a_rolled_back_log_without_a_feed_is_refused(
    log: SlowLog, feed: FakeFeed
) -> None:
    async with running_hub(log, feed, ServerTiming(position_check=3_600)) as hub:
        await at_five(hub, log, feed)
        start = Position(hub.fanouts[CHANNEL].position.epoch, 0)
        log.lose(CHANNEL, 1)
        log.fails = BackendUnavailableError("down")
        feed.announce(OSError("the network is down"))
        await until(lambda: not hub.ready)
        log.fails = None
        with pytest.raises(BackendUnavailableError):
            await Recorder().subscribe(hub, CHANNEL, start)


@pytest.mark.parametrize("lost", [1, 2])
async def test_rollback_while_a_channel_is_opened(feed: FakeFeed, lost: int) -> None:
    gate = Gate()
    log = SlowLog(gate.wait)
    async with running_hub(log, feed, ServerTiming(position_check=3_600)) as hub:
        recorder = Recorder()
        gate.close_after(0)
        subscribing = asyncio.create_task(recorder.subscribe(hub, CHANNEL, None))
        await gate.reached.wait()
        feed.announce(stored := await log.from_trusted(numbered(CHANNEL, 5)))
        assert stored[0].position
        gate.open()
        gate.reached.clear()
        gate.close_after(0)
        await gate.reached.wait()
        log.lose(CHANNEL, lost)
        feed.announce(await log.from_trusted(others(lost, start=6 - lost)))
        await until(lambda: hub.opener.early_events(CHANNEL) == 5 + lost)
        gate.open()
        await subscribing
        epoch = stored[0].position.epoch
        await recorder.sees(lambda: recorder.here and recorder.here.epoch != epoch)
        assert recorder.data == []


async def test_two_servers_agree_on_the_new_epoch_of_a_rollback(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    other_feed = FakeFeed()
    async with running_hub(log, other_feed, FREQUENT_CHECKS) as other:
        here = await at_five(hub, log, feed)
        there = Recorder()
        await there.subscribe(other, CHANNEL, Position(here.answers[0][0].top.epoch, 0))
        log.lose(CHANNEL, 2)
        # The server that checks first finds the rollback, the other one the new epoch.
        reasons = ("regressed", "epoch")
        await asyncio.gather(
            starts_a_new_epoch(here, reasons=reasons), there.sees(lambda: there.resets)
        )
        feed.announce(stored := await log.from_trusted(numbered(CHANNEL, 1, start=6)))
        other_feed.announce(stored)
        await here.reaches(1)
        await there.reaches(1)
    assert here.here == there.here
    assert len(there.resets) == 1


async def test_repeated_announcement_is_no_rollback(hub: Hub, log: SlowLog, feed: FakeFeed) -> None:
    recorder = await at_five(hub, log, feed)
    page_start = Position(recorder.answers[0][0].top.epoch, 0)
    page = await log.memory.read(CHANNEL, page_start)
    feed.announce(page.events, page.events[:1])  # type: ignore[union-attr]  # it is a page
    feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=6)))
    await recorder.reaches(6)
    assert (recorder.data, recorder.resets) == ([1, 2, 3, 4, 5, 6], [])
