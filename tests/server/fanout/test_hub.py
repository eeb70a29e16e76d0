"""Tests of the hub: each event once and in order, whatever feed and log do."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.fakes import (
    FakeFeed,
    Gate,
    Recorder,
    SlowLog,
    TimelessLoop,
    numbered,
    running_hub,
)
from tests.server.harness import TIMEOUT, until

CHANNEL = "job.7"
ELSEWHERE = "zzzzzzzz"


@pytest.fixture
def log() -> SlowLog:
    return SlowLog()


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
async def hub(log: SlowLog, feed: FakeFeed, timing: ServerTiming) -> AsyncIterator[Hub]:
    async with running_hub(log, feed, timing) as hub:
        yield hub


FREQUENT_CHECKS = ServerTiming(position_check=0.005, announcement=0.001, restart=0.005, quiet=0.05)


@pytest.fixture
def timing() -> ServerTiming:
    return ServerTiming()


frequent_checks = pytest.mark.parametrize("timing", [FREQUENT_CHECKS], ids=["frequent"])

RARE_CHECKS = replace(FREQUENT_CHECKS, position_check=3_600)
rare_checks = pytest.mark.parametrize("timing", [RARE_CHECKS], ids=["rare"])


async def joined(hub: Hub, after: Position | None = None, channel: str = CHANNEL) -> Recorder:
    recorder = Recorder()
    recorder.here = after
    await recorder.subscribe(hub, channel, after)
    return recorder


async def test_event_is_encoded_once_for_all_subscribers() -> None:
    got: list[bytes] = []

    class Keeper(Recorder):
        def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:
            got.extend(messages)
            self.news.set()
            return True

    backend = MemoryBackend()
    async with running_hub(backend, backend) as hub:
        keepers = [Keeper(), Keeper()]
        for keeper in keepers:
            await keeper.subscribe(hub, CHANNEL, None)
        await backend.append(numbered(CHANNEL, 1))
        await keepers[0].sees(lambda: len(got) == 2)
    assert got[0] is got[1]


async def test_only_the_channels_own_subscribers_get_an_event(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    here, there = await joined(hub, channel="a"), await joined(hub, channel="b")
    mixed = [
        event for pair in zip(numbered("a", 3), numbered("b", 3), strict=True) for event in pair
    ]
    feed.announce(await log.from_trusted(mixed))
    await here.reaches(3)
    await there.reaches(3)
    assert (here.data, there.data) == ([1, 2, 3], [1, 2, 3])


async def test_subscription_from_a_position_gets_the_missed_events(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    stored = await log.from_trusted(numbered(CHANNEL, 5))
    assert stored[1].position
    new = await joined(hub)
    back = await joined(hub, stored[1].position)
    assert (new.offsets, back.offsets) == ([], [3, 4, 5])
    assert [recovered for _, recovered in new.answers + back.answers] == [False, True]
    feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=6)))
    await new.reaches(6)
    await back.reaches(6)
    assert (new.offsets, back.offsets) == ([6], [3, 4, 5, 6])
    assert new.broken + back.broken == []


async def test_no_event_is_pushed_between_pages_of_history(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    await log.append(numbered(CHANNEL, 600))
    epoch = (await log.positions([CHANNEL]))[CHANNEL].epoch
    reader = await joined(hub, Position(epoch, 0))
    assert reader.answers[0][0].more
    assert len(reader.offsets) == 500
    feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=601)))
    await (await joined(hub, Position(epoch, 600))).reaches(601)
    assert len(reader.offsets) == 500
    await reader.subscribe(hub, CHANNEL, reader.here)
    assert not reader.answers[1][0].more
    feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=602)))
    await reader.reaches(602)
    assert (reader.offsets, reader.broken) == ([*range(1, 603)], [])


async def test_position_of_another_epoch_is_reset_to_the_top(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    await log.append(numbered(CHANNEL, 3))
    stray = await joined(hub, Position(ELSEWHERE, 2))
    assert [(reset.reason, reset.top.offset) for reset in stray.resets] == [("epoch", 3)]
    assert stray.answers[0][1] is False
    feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=4)))
    await stray.reaches(4)
    assert (stray.offsets, stray.broken) == ([4], [])


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


async def test_slow_subscriber_is_paused_until_it_subscribes_again(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    slow, quick = await joined(hub), await joined(hub)
    slow.takes = False
    feed.announce(await log.from_trusted(numbered(CHANNEL, 3)))
    await quick.reaches(3)
    slow.takes = True
    feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=4)))
    await quick.reaches(4)
    assert slow.offsets == []
    await slow.subscribe(hub, CHANNEL, slow.here)
    feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=5)))
    await slow.reaches(5)
    assert (slow.offsets, slow.broken) == ([1, 2, 3, 4, 5], [])


async def test_slow_subscriber_is_paused_after_its_history(feed: FakeFeed) -> None:
    gate = Gate()
    log = SlowLog(gate.wait)
    async with running_hub(log, feed) as hub:
        first, slow = await joined(hub), Recorder()
        start = hub.fanouts[CHANNEL].position
        gate.close_after(1)
        reading = asyncio.create_task(slow.subscribe(hub, CHANNEL, start))
        await gate.reached.wait()
        feed.announce(await log.from_trusted(numbered(CHANNEL, 2)))
        await first.reaches(2)
        slow.takes = False
        gate.open()
        await reading
        slow.takes = True
        feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=3)))
        await first.reaches(3)
        assert (slow.offsets, slow.broken) == ([], [])
        await slow.subscribe(hub, CHANNEL, start)
        assert slow.offsets == [1, 2, 3]


async def test_unsubscribed_subscriber_gets_no_event(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    leaver, stayer = await joined(hub), await joined(hub)
    hub.unsubscribe(leaver, CHANNEL)
    hub.unsubscribe(leaver, "never.joined")
    feed.announce(await log.from_trusted(numbered(CHANNEL, 1)))
    await stayer.reaches(1)
    assert leaver.offsets == []


async def test_unsubscribe_during_history_ends_the_subscription(feed: FakeFeed) -> None:
    gate = Gate()
    log = SlowLog(gate.wait)
    async with running_hub(log, feed) as hub:
        await joined(hub)
        gate.close_after(0)
        leaver = Recorder()
        joining = asyncio.create_task(leaver.subscribe(hub, CHANNEL, Position(ELSEWHERE, 1)))
        await until(lambda: leaver in hub.fanouts[CHANNEL].reading_history)
        hub.unsubscribe(leaver, CHANNEL)
        gate.open()
        await joining
    assert (leaver.answers, leaver.resets) == ([], [])


@frequent_checks
async def test_unused_channel_is_closed_and_can_be_opened_again(
    hub: Hub, log: SlowLog, feed: FakeFeed
) -> None:
    kept, left = await joined(hub, channel="kept"), await joined(hub, channel="left")
    hub.unsubscribe(left, "left")
    await until(lambda: feed.listener and feed.listener.channels == {"kept"})
    assert (set(hub.fanouts), hub.top("left")) == ({"kept"}, None)
    again = await joined(hub, channel="left")
    feed.announce(
        await log.from_trusted(numbered("left", 1)), await log.from_trusted(numbered("kept", 1))
    )
    await again.reaches(1)
    await kept.reaches(1)


@frequent_checks
async def test_feed_that_fails_to_unsubscribe_continues(
    hub: Hub, log: SlowLog, feed: FakeFeed, caplog: pytest.LogCaptureFixture
) -> None:
    kept, left = await joined(hub, channel="kept"), await joined(hub, channel="left")
    feed.discard_fails = OSError("the network is down")
    hub.unsubscribe(left, "left")
    await until(lambda: "the position check failed" in caplog.text)
    feed.announce(
        await log.from_trusted(numbered("left", 1)), await log.from_trusted(numbered("kept", 1))
    )
    await kept.reaches(1)
    assert (feed.opened, left.offsets) == (1, [])


class TestOpening:
    async def test_channel_is_opened_once_for_many_requests(
        self, log: SlowLog, feed: FakeFeed
    ) -> None:
        added: list[str] = []
        async with running_hub(log, feed) as hub:
            assert feed.listener
            add = feed.listener.subscribe

            async def counting(channels: list[str]) -> None:
                added.extend(channels)
                await asyncio.sleep(0)
                await add(channels)

            feed.listener.subscribe = counting  # type: ignore[method-assign, assignment]
            await asyncio.gather(*(joined(hub) for _ in range(9)))
        assert added == [CHANNEL]

    async def test_event_before_the_position_is_not_repeated(self, feed: FakeFeed) -> None:
        gate = Gate()
        log = SlowLog(gate.wait)
        async with running_hub(log, feed) as hub:
            gate.close_after(0)
            joining = asyncio.create_task(joined(hub))
            await until(lambda: feed.listener and CHANNEL in feed.listener.channels)
            feed.announce(await log.from_trusted(numbered(CHANNEL, 2)))
            await until(lambda: hub.opener.early_events(CHANNEL) == 2)
            gate.open()
            recorder = await joining
            feed.announce(await log.from_trusted(numbered(CHANNEL, 1, start=3)))
            await recorder.reaches(3)
        assert recorder.broken == []
        assert recorder.offsets == [3]

    async def test_event_after_the_position_is_delivered_at_once(self, feed: FakeFeed) -> None:
        gate = Gate()
        log = SlowLog(gate.wait)
        async with running_hub(log, feed) as hub:
            gate.close_after(1)
            joining = asyncio.create_task(joined(hub))
            await gate.reached.wait()
            feed.announce(await log.from_trusted(numbered(CHANNEL, 2)))
            await until(lambda: hub.opener.early_events(CHANNEL) == 2)
            gate.open()
            await (await joining).reaches(2)

    @pytest.mark.parametrize(
        "problem", [BackendUnavailableError("it is down"), OSError("it is down"), KeyError("x")]
    )
    @pytest.mark.parametrize("where", ["feed", "log"])
    async def test_failed_opening_fails_all_requests_and_works_later(
        self, hub: Hub, log: SlowLog, feed: FakeFeed, problem: Exception, where: str
    ) -> None:
        part = feed if where == "feed" else log
        setattr(part, "add_fails" if where == "feed" else "fails", problem)
        answers = await asyncio.gather(*(joined(hub) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [BackendUnavailableError] * 3
        setattr(part, "add_fails" if where == "feed" else "fails", None)
        recorder = await joined(hub)
        feed.announce(await log.from_trusted(numbered(CHANNEL, 1)))
        await recorder.reaches(1)
        assert feed.opened == 1

    async def test_subscription_before_the_feed_connects_fails(self) -> None:
        hub = Hub(SlowLog(), FakeFeed())
        with pytest.raises(BackendUnavailableError, match="not connected"):
            await joined(hub)
        await hub.wait_until_ready(0.001)
        assert not hub.ready

    async def test_broken_feed_fails_all_pending_openings(
        self, feed: FakeFeed, caplog: pytest.LogCaptureFixture
    ) -> None:
        gate = Gate()
        log = SlowLog(gate.wait)
        async with running_hub(log, feed, FREQUENT_CHECKS) as hub:
            gate.close_after(0)
            asked = [asyncio.create_task(joined(hub)) for _ in range(3)]
            await until(lambda: hub.opener.early_events(CHANNEL) == 0)
            feed.announce(OSError("the network is down"))
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(answer) for answer in answers] == [BackendUnavailableError] * 3
            gate.open()
            async with asyncio.timeout(TIMEOUT):
                await until(lambda: feed.opened == 2)
                await hub.wait_until_ready(TIMEOUT)
                await joined(hub)
        assert "background work ended, restarting work=feed" in caplog.text


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


class BriefSubscriber(Recorder):
    """A subscriber that joins again, as a client does, where what it gets does not follow."""

    def __init__(self, after: Position | None) -> None:
        super().__init__()
        self.here = after
        self.patience = 60.0
        self.story: list[int | None] = []
        self.lost = False

    def _step(self, place: Position, data: int) -> None:
        follows = self.here and place == Position(self.here.epoch, self.here.offset + 1)
        if follows and not self.lost:
            super()._step(place, data)
            self.story.append(data)
        else:
            self.lost = True
            self.news.set()

    def reset(self, channel: str, reset: Reset) -> None:
        super().reset(channel, reset)
        self.story.append(None)

    async def stay(self, hub: Hub, top: Callable[[], Position | None]) -> None:
        """Stay subscribed until all that is ever published has arrived."""
        while self.here is None or self.here != top():
            self.lost = False
            await self.subscribe(hub, CHANNEL, self.here)
            await self.sees(lambda: self.lost or self.here == top())

    def has_no_hole(self) -> bool:
        """Return whether all numbers follow each other, but where a reset lies between."""
        return all(
            one is None or next_one is None or next_one == one + 1
            for one, next_one in pairwise(self.story)
        )


class Course:
    """Subscribers that come and go at random moments, while events stream."""

    def __init__(self, dice: random.Random, *, drops: float = 0, rotations: float = 0) -> None:
        self.dice = dice
        self.drops = drops
        self.rotations = rotations
        self.log = SlowLog(self.pause)
        self.feed = FakeFeed(self.pause)
        self.published = 0
        self.places: list[Position] = []
        self.end: Position | None = None
        self.visitors: list[BriefSubscriber] = []

    async def pause(self) -> None:
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)

    async def run(self) -> None:
        async with running_hub(self.log, self.feed) as hub, asyncio.TaskGroup() as tasks:
            for _ in range(40):
                if self.dice.random() < 0.6:
                    await self.publish(self.dice.randrange(1, 4))
                else:
                    tasks.create_task(self.visit(hub))
                await self.pause()
            await self.publish(1)
            self.end = self.places[-1]
            for visitor in self.visitors:
                visitor.news.set()

    async def publish(self, count: int) -> None:
        if self.dice.random() < self.rotations and self.places:
            await self.log.rotate_epoch(CHANNEL, self.places[-1].epoch)
        events = await self.log.from_trusted(numbered(CHANNEL, count, start=self.published + 1))
        self.published += count
        self.places += [event.position for event in events if event.position]
        if self.dice.random() >= self.drops:
            self.feed.announce([*events[: self.dice.randrange(2)], *events])

    async def visit(self, hub: Hub) -> None:
        visitor = BriefSubscriber(self.dice.choice([None, *self.places[-9:]]))
        self.visitors.append(visitor)
        if self.dice.random() < 0.7:
            await visitor.stay(hub, lambda: self.end)
        else:
            await visitor.subscribe(hub, CHANNEL, visitor.here)
            await self.pause()
        hub.unsubscribe(visitor, CHANNEL)
        assert visitor.has_no_hole()


def run(course: Course) -> None:
    with asyncio.Runner(loop_factory=TimelessLoop) as runner:
        runner.run(course.run())


@given(st.integers(0, 2**32))
@settings(max_examples=250)
def test_subscribers_during_a_stream_get_each_event_once(seed: int) -> None:
    course = Course(random.Random(seed))
    run(course)
    assert not any(visitor.lost or visitor.resets for visitor in course.visitors)


@given(st.integers(0, 2**32))
@settings(max_examples=250)
def test_lost_announcements_lose_no_event(seed: int) -> None:
    course = Course(random.Random(seed), drops=0.4)
    run(course)
    assert not any(visitor.lost or visitor.resets for visitor in course.visitors)


@given(st.integers(0, 2**32))
@settings(max_examples=250)
def test_epoch_rotation_gives_a_reset_and_no_other_gap(seed: int) -> None:
    run(Course(random.Random(seed), drops=0.2, rotations=0.1))
