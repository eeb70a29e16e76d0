"""Random courses of a hub: each event once and in order, whatever feed and log do."""

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.server.fanout.hub import Hub
from tests.server.fakes import FakeFeed, Recorder, SlowLog, TimelessLoop, numbered, running_hub
from tests.server.fanout.hubs import CHANNEL


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
