"""Queue of a listener: order, gaps and overflow."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.backend.listener_queue import ListenerQueue
from realtime_bridge.model.event import Event
from realtime_bridge.testing.contracts.samples import numbered


async def recover(gap: FeedInterrupted) -> None:
    raise AssertionError(f"unexpected: {gap}")


def steps(turn: object) -> list[int]:
    assert isinstance(turn, list)
    return [event.data["step"] for event in turn if isinstance(event, Event)]


async def test_waiting_events_come_in_one_turn() -> None:
    queue = ListenerQueue()
    queue.put(numbered("job.7", 2))
    queue.put(numbered("job.7", 1, start=3))
    assert steps(await anext(aiter(queue))) == [1, 2, 3]


async def test_overflow_drops_the_events_and_reports_a_gap() -> None:
    queue = ListenerQueue(capacity=3)
    for event in numbered("job.7", 5):
        queue.put([event])
    stream = aiter(queue)
    assert await anext(stream) == FeedInterrupted()
    assert steps(await anext(stream)) == [4, 5]
    queue.put(numbered("job.7", 1, start=6))
    assert steps(await anext(stream)) == [6]


async def test_gap_precedes_the_events_after_it() -> None:
    queue = ListenerQueue()
    queue.put(numbered("job.7", 1))
    queue.mark_gap()
    queue.put(numbered("job.7", 1, start=2))
    stream = aiter(queue)
    assert await anext(stream) == FeedInterrupted()
    assert steps(await anext(stream)) == [2]


async def test_closed_queue_ends_the_stream() -> None:
    queue = ListenerQueue()
    reading = asyncio.create_task(anext(aiter(queue), None))
    await asyncio.sleep(0)
    queue.close()
    assert await reading is None


async def test_gap_of_one_channel_keeps_the_waiting_events() -> None:
    queue = ListenerQueue()
    queue.put(numbered("job.7", 1))
    queue.mark_channel_gap("job.8")
    stream = aiter(queue)
    assert await anext(stream) == FeedInterrupted("job.8")
    assert steps(await anext(stream)) == [1]


async def test_overflow_without_a_connection_reports_no_connection() -> None:
    queue = ListenerQueue(capacity=1)
    queue.mark_gap(connected=False)
    queue.put(numbered("job.7", 2))
    assert await anext(aiter(queue)) == FeedInterrupted(connected=False)


class Follower:
    """Reader that records events and gaps, and recovers from each gap when it is allowed to."""

    def __init__(self, queue: ListenerQueue) -> None:
        self.items: list[object] = []
        self.recovers, self.recovered = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(queue.follow(self.receive, self.recover))

    def receive(self, events: Sequence[Event]) -> None:
        self.items.append(steps(events))

    async def idle(self) -> None:
        """Wait for two turns of the loop, in which the stream goes on."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def recover(self, gap: FeedInterrupted) -> None:
        self.items.append(gap)
        self.recovers.set()
        await self.recovered.wait()


@asynccontextmanager
async def following(queue: ListenerQueue) -> AsyncIterator[Follower]:
    """Follow a queue until the context ends; its stream waits at the start."""
    follower = Follower(queue)
    await asyncio.sleep(0)
    yield follower
    follower.task.cancel()
    await asyncio.wait([follower.task])


async def test_follower_gets_the_events_of_a_turn_from_one_call_of_the_loop() -> None:
    queue = ListenerQueue()
    async with following(queue) as follower:
        queue.put(numbered("job.7", 2))
        queue.put(numbered("job.7", 1, start=3))
        assert follower.items == []
        await asyncio.sleep(0)
        assert follower.items == [[1, 2, 3]]


async def test_events_wait_while_a_follower_recovers_from_a_gap() -> None:
    queue = ListenerQueue()
    async with following(queue) as follower:
        queue.put(numbered("job.7", 1))
        queue.mark_channel_gap("job.8")
        await follower.recovers.wait()
        queue.put(numbered("job.7", 1, start=2))
        await asyncio.sleep(0)
        assert follower.items == [FeedInterrupted("job.8")]
        follower.recovered.set()
        await follower.idle()
        queue.put(numbered("job.7", 1, start=3))
        await asyncio.sleep(0)
        assert follower.items == [FeedInterrupted("job.8"), [1, 2], [3]]


async def test_follower_is_called_outside_the_context_of_the_publisher() -> None:
    span: ContextVar[str] = ContextVar("span", default="none")
    queue, seen = ListenerQueue(), list[str]()
    follower = asyncio.create_task(queue.follow(lambda _: seen.append(span.get()), recover))
    await asyncio.sleep(0)
    span.set("publish")
    queue.put(numbered("job.7", 1))
    await asyncio.sleep(0)
    assert seen == ["none"]
    follower.cancel()


async def test_error_of_a_follower_ends_it_and_keeps_later_events() -> None:
    queue = ListenerQueue()

    def fail(_: Sequence[Event]) -> None:
        raise ValueError("broken")

    failing = asyncio.create_task(queue.follow(fail, recover))
    await asyncio.sleep(0)
    queue.put(numbered("job.7", 1))
    with pytest.raises(ValueError, match="broken"):
        await failing
    queue.put(numbered("job.7", 1, start=2))
    assert steps(await anext(aiter(queue))) == [2]


async def test_events_without_a_follower_wait_for_the_stream() -> None:
    queue = ListenerQueue()
    async with following(queue):
        pass
    queue.put(numbered("job.7", 1))
    assert steps(await anext(aiter(queue))) == [1]
