"""Tests of the hub where the feed or the log fails: no event is lost."""

import asyncio
import logging
from dataclasses import replace
from functools import partial

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeFeed, Gate, Recorder, SlowLog, numbered, running_hub
from tests.server.fanout.hubs import CHANNEL, FREQUENT_CHECKS, frequent_checks, joined
from tests.server.harness import TIMEOUT, until

RARE_CHECKS = replace(FREQUENT_CHECKS, position_check=3_600)


rare_checks = pytest.mark.parametrize("timing", [RARE_CHECKS], ids=["rare"])


async def test_a_gap_in_the_feed_is_read_from_the_log_at_once(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    recorder = await joined(hub)
    stored = await log.from_trusted(numbered(CHANNEL, 5))
    feed.announce(stored[:1], stored[4:], stored[1:3])
    await recorder.reaches(5)
    assert (recorder.offsets, recorder.broken) == ([1, 2, 3, 4, 5], [])


async def test_event_announced_during_a_recovery_is_read_too(feed: FakeFeed) -> None:
    gate = Gate()
    log = SlowLog(gate.wait)
    async with running_hub(log, feed) as hub:
        recorder = await joined(hub)
        stored = await log.from_trusted(numbered(CHANNEL, 3))
        gate.close_after(1)
        feed.announce(stored[2:])
        await gate.reached.wait()
        feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=4)))
        fan = hub.fanouts[CHANNEL]
        await until(lambda: fan.missed)
        gate.open()
        await recorder.reaches(4)
    assert (recorder.offsets, recorder.broken) == ([1, 2, 3, 4], [])


@frequent_checks
async def test_position_check_recovers_a_lost_last_announcement(hub: Hub, log: SlowLog) -> None:
    recorder = await joined(hub)
    await log.append(numbered(CHANNEL, 3))
    await recorder.reaches(3)
    assert recorder.offsets == [1, 2, 3]


async def test_late_announcement_is_not_read_from_the_log(feed: FakeFeed) -> None:
    log = SlowLog()
    timing = ServerTiming(position_check=0.005, announcement=0.5)
    async with running_hub(log, feed, timing) as hub:
        recorder = await joined(hub)
        stored = await log.from_trusted(numbered(CHANNEL, 3))
        calls = log.position_calls
        await until(lambda: log.position_calls > calls)
        feed.announce(stored)
        await recorder.reaches(3)
        calls = log.position_calls
        await until(lambda: log.position_calls > calls)
    assert (recorder.offsets, log.reads) == ([1, 2, 3], 0)


async def test_interrupted_feed_is_recovered_at_once(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    recorder = await joined(hub)
    await log.append(numbered(CHANNEL, 3))
    feed.announce(FeedInterrupted())
    await recorder.reaches(3)
    assert recorder.offsets == [1, 2, 3]


async def test_new_epoch_resets_live_and_paused_subscribers(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    live, behind = await joined(hub), await joined(hub)
    old = await log.from_trusted(numbered(CHANNEL, 1))
    behind.takes = False
    feed.announce(old)
    await live.reaches(1)
    assert old[0].position
    await log.rotate_epoch(CHANNEL, old[0].position.epoch)
    new = await log.from_trusted(numbered(CHANNEL, 1))
    feed.announce(new)
    for recorder in (live, behind):
        await recorder.sees(partial(getattr, recorder, "resets"))
        assert [(reset.reason, reset.top) for reset in recorder.resets] == [
            ("epoch", new[0].position)
        ]
    feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=2)))
    await live.reaches(2)
    assert (live.offsets, live.broken, behind.offsets) == ([1, 2], [], [])


@pytest.mark.parametrize("feed_first", [True, False])
async def test_new_epoch_during_history_repeats_no_event(
    feed: FakeFeed, *, feed_first: bool
) -> None:
    gate = Gate()
    log = SlowLog(gate.wait)
    async with running_hub(log, feed) as hub:
        witness = await joined(hub)
        before = (await log.positions([CHANNEL]))[CHANNEL]
        fresh = await log.rotate_epoch(CHANNEL, before.epoch)
        new = await log.from_trusted(numbered(CHANNEL, 2))
        gate.close_after(0)
        late, fan = Recorder(), hub.fanouts[CHANNEL]
        late.here = fresh
        if feed_first:
            feed.announce(new[1:])
            await until(lambda: fan.recovering)
        joining = asyncio.create_task(late.subscribe(hub, CHANNEL, fresh))
        await until(lambda: late in fan.reading_history)
        feed.announce(new[1:])
        await until(lambda: fan.recovering)
        gate.open()
        await joining
        await witness.sees(lambda: witness.resets)
        feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=3)))
        await late.reaches(3)
    assert (late.offsets, late.broken, late.resets) == ([1, 2, 3], [], [])


async def test_gap_that_was_trimmed_is_a_reset(hub: Hub, log: SlowLog, feed: FakeFeed) -> None:
    recorder = await joined(hub)
    stored = [
        event
        for start in range(1, 1_502, 500)
        for event in await log.from_trusted(numbered(CHANNEL, 500, start=start))
    ]
    feed.announce(stored[-1:])
    await recorder.reaches(2_000)
    assert [reset.reason for reset in recorder.resets] == ["truncated"]
    assert (recorder.offsets, recorder.broken) == ([], [])


class TestABrokenFeed:
    @pytest.fixture
    def timing(self) -> ServerTiming:
        return ServerTiming(restart=0.005)

    @pytest.mark.parametrize("end", [OSError("the network is down"), None])
    async def test_broken_feed_reconnects_and_recovers_the_gap(
        self, hub: Hub, log: SlowLog, feed: FakeFeed, end: Exception | None
    ) -> None:
        recorder = await joined(hub)
        feed.announce(end)
        await until(lambda: feed.opened == 1 and not hub.ready)
        await log.append(numbered(CHANNEL, 3))
        await recorder.reaches(3)
        await hub.wait_until_ready(TIMEOUT)
        feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=4)))
        await recorder.reaches(4)
        assert (recorder.offsets, recorder.broken) == ([1, 2, 3, 4], [])

    @pytest.mark.parametrize("timing", [ServerTiming(restart=1_000.0)], ids=["late"])
    async def test_broken_feed_allows_open_channels_and_no_others(
        self, hub: Hub, log: SlowLog, feed: FakeFeed
    ) -> None:
        await joined(hub)
        feed.announce(OSError("the network is down"))
        await until(lambda: not hub.ready)
        assert (await joined(hub)).answers
        with pytest.raises(BackendUnavailableError):
            await joined(hub, channel="other")

    async def test_recovery_cut_by_a_broken_feed_is_repeated(
        self, hub: Hub, log: SlowLog, feed: FakeFeed
    ) -> None:
        recorder = await joined(hub)
        stored = await log.from_trusted(numbered(CHANNEL, 3))
        feed.announce(stored[2:], OSError("the network is down"))
        await recorder.reaches(3)
        feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=4)))
        await recorder.reaches(4)
        assert (recorder.offsets, recorder.broken) == ([1, 2, 3, 4], [])

    @rare_checks
    @pytest.mark.parametrize("problem", [BackendUnavailableError("down"), OSError("down")])
    async def test_a_log_that_cannot_be_read_is_asked_again_later(
        self,
        hub: Hub,
        log: SlowLog,
        feed: FakeFeed,
        problem: Exception,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        recorder = await joined(hub)
        stored = await log.from_trusted(numbered(CHANNEL, 3))
        log.fails = problem
        feed.announce(stored[2:])
        await until(lambda: "log unavailable work=recovery" in caplog.text)
        log.fails = None
        await recorder.reaches(3)
        assert (recorder.offsets, recorder.broken, feed.opened) == ([1, 2, 3], [], 1)

    async def test_recovery_that_fails_reports_the_log_at_once(
        self, log: SlowLog, feed: FakeFeed
    ) -> None:
        async with running_hub(log, feed, ServerTiming(position_check=3_600)) as hub:
            recorder = await joined(hub)
            stored = await log.from_trusted(numbered(CHANNEL, 3))
            assert hub.healthy
            log.fails = BackendUnavailableError("down")
            feed.announce(stored[2:])
            await until(lambda: not hub.healthy)
            log.fails = None
            await until(lambda: hub.healthy)
            await recorder.reaches(3)

    @frequent_checks
    async def test_end_of_failed_recovery_is_logged_without_another_one(
        self, hub: Hub, log: SlowLog, feed: FakeFeed, caplog: pytest.LogCaptureFixture
    ) -> None:
        await joined(hub)
        stored = await log.from_trusted(numbered(CHANNEL, 3))
        log.fails = BackendUnavailableError("down")
        feed.announce(stored[2:])
        # The regular check may be the first to fail.
        await until(lambda: hub.recovery.started and "log unavailable " in caplog.text)
        log.fails = None
        await until(lambda: "log available " in caplog.text)
        assert caplog.text.count("log unavailable ") == 1

    @frequent_checks
    async def test_positions_that_cannot_be_compared_are_compared_later(
        self, hub: Hub, log: SlowLog, feed: FakeFeed, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        recorder = await joined(hub)
        log.fails = BackendUnavailableError("down")
        await log.append(numbered(CHANNEL, 3))
        feed.announce(FeedInterrupted())
        await until(lambda: "log unavailable work=positions" in caplog.text)
        log.fails = None
        await recorder.reaches(3)

    async def test_stopping_in_the_middle_of_everything_leaves_no_task(
        self, log: SlowLog, feed: FakeFeed
    ) -> None:
        before = asyncio.all_tasks()
        async with running_hub(log, feed) as hub:
            await joined(hub)
            feed.announce((await log.from_trusted(numbered(CHANNEL, 3)))[2:])
        assert asyncio.all_tasks() == before
