"""Tests of the hub: subscriptions, history, slow subscribers and the opening of channels."""

import asyncio
from collections.abc import Sequence

import pytest

from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.fakes import FakeFeed, Gate, Recorder, SlowLog, numbered, running_hub
from tests.server.fanout.hubs import CHANNEL, FREQUENT_CHECKS, frequent_checks, joined
from tests.server.harness import TIMEOUT, until

ELSEWHERE = "zzzzzzzz"


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
