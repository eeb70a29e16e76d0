"""Queue of a listener: order, gaps and overflow."""

import asyncio

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.backend.listener_queue import ListenerQueue
from realtime_bridge.model.event import Event
from realtime_bridge.testing.contracts.samples import numbered


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
