"""Single publishes to the memory log from C: the same receipts and announcements as from Python."""

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.backend import listener_queue
from realtime_bridge.backend.feed import Listener
from realtime_bridge.backend.listener_queue import LocalListener
from realtime_bridge.compiled import compiled
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing import plain_append
from realtime_bridge_backends import memory
from realtime_bridge_backends.memory import EXPIRE_SECONDS, MemoryBackend
from tests.compiled.random_events import CHANNELS, events


class Course:
    """Memory log with listeners, and all that its publishes returned.

    Args:
        monkeypatch: replaces the clocks, and the core if not `compiled`.
        compiled: whether the log uses the core.

    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        retention: Retention = Retention(),  # noqa: B008 -- it is frozen
        *,
        max_bytes: int = 10**9,
        compiled: bool = True,
    ) -> None:
        if not compiled:
            monkeypatch.setattr(memory, "append_now", None)
            monkeypatch.setattr(plain_append, "append_plain", None)
        self.now = 1_000.0
        monkeypatch.setattr(time, "time_ns", lambda: int(self.now * 1e9))
        epochs = (f"{number:08}" for number in count())
        monkeypatch.setattr(ids, "epoch", lambda: next(epochs))
        self.log = MemoryBackend(retention, max_bytes=max_bytes, clock=lambda: self.now)
        self.receipts: list[Receipt | None] = []
        self.markers = 0

    def publish(self, *batch: Event, wait: float = 0.0) -> None:
        self.now += wait
        self.receipts += map(self.log.append_now, batch)

    def publish_to(self, channel: str) -> Receipt:
        """Publish an event of a new id, and return its receipt."""
        event = Event(channel=channel, event="job.step", data={"x": "x" * 50})
        receipt = self.log.append_now(event)
        assert receipt
        return receipt

    async def outcome(self) -> list[object]:
        """Return all that readers can see."""
        seen: list[object] = [self.receipts, self.log.channel_count, self.log.byte_count]
        for channel in await self.log.channels():
            page = await self.log.oldest(channel)
            seen += [page.events, page.top, page.top.id, await self.log.latest(channel)]
            for event in page.events:
                assert event.position
                answer = await self.log.read(channel, event.position)
                seen += [answer.reason if isinstance(answer, Reset) else answer.events]
        return seen


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, EXPIRE_SECONDS / 2, 0.5, 7.0, 61.0, 1e6]),
        st.lists(events(), max_size=4),
        st.sampled_from(["publish", "publish", "publish", "subscribe", "read"]),
        st.sampled_from(CHANNELS),
    ),
    max_size=20,
)
RETENTIONS = st.builds(
    Retention,
    events=st.integers(1, 6),
    bytes=st.sampled_from([100, 5_000]),
    seconds=st.sampled_from([20, 1_000]),
)


async def play(course: Course, steps: list[tuple[float, list[Event], str, str]]) -> list[object]:
    """Publish with two listeners; return all that they and readers get."""
    received: list[object] = []
    async with course.log.listen() as first, course.log.listen() as second:
        await first.subscribe(CHANNELS[:1])
        for wait, batch, kind, channel in steps:
            if kind == "subscribe":
                await second.subscribe([channel])
            course.publish(*batch, wait=wait)
            if kind == "read":
                received += [await waiting(first, course), await waiting(second, course)]
        received += [await waiting(first, course), await waiting(second, course)]
    return received + await course.outcome()


async def waiting(listener: Listener, course: Course) -> list[object]:
    """Return what waits for a listener: a marker is published behind it."""
    await listener.subscribe(["marker"])
    # Each marker has an id of its own: nothing is announced for that of an expired event.
    course.markers += 1
    marker = Event(channel="marker", event="marker", data=None, id=f"marker-{course.markers}")
    await course.log.append([marker])
    items: list[object] = []
    async for item in listener:
        items.append(item)
        if isinstance(item, list) and item[-1].channel == "marker":
            break
    await listener.unsubscribe(["marker"])
    return items


@settings(max_examples=60, deadline=None)
@given(STEPS, RETENTIONS, st.sampled_from([4_000, 10**9]))
def test_random_publishes_are_the_same_from_c_and_from_python(
    steps: list[tuple[float, list[Event], str, str]], retention: Retention, max_bytes: int
) -> None:
    def run(*, compiled: bool) -> list[object]:
        with pytest.MonkeyPatch.context() as patch:
            course = Course(patch, retention, max_bytes=max_bytes, compiled=compiled)
            return asyncio.run(play(course, steps))

    assert run(compiled=True) == run(compiled=False)


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch) -> Course:
    course = Course(monkeypatch, Retention(events=5))
    course.publish_to("job.1")  # the first event of a channel is appended by Python
    return course


def test_single_publish_is_compiled_here(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    def append(_self: MemoryBackend, _event: object) -> None:
        raise AssertionError("unreachable")

    monkeypatch.setattr(memory.Histories, "append", append)
    receipt = course.publish_to("job.1")
    assert receipt.position
    assert receipt.position.offset == 2


def fail(*_: object) -> None:
    raise RuntimeError("broken")


def break_clock(course: Course, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(time, "time_ns", fail)


def break_expiry(course: Course, patch: pytest.MonkeyPatch) -> None:
    course.now += 1.0
    patch.setattr(memory.Histories, "expire_some", fail)


def break_number(course: Course, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(time, "time_ns", lambda: "now")


@pytest.mark.parametrize("break_part", [break_clock, break_expiry, break_number])
def test_failed_publish_stores_nothing_and_leaves_no_memory(
    course: Course,
    monkeypatch: pytest.MonkeyPatch,
    break_part: Callable[[Course, pytest.MonkeyPatch], None],
) -> None:
    event = Event(channel="job.1", event="job.step", data=1)
    with monkeypatch.context() as patch:
        break_part(course, patch)

        def publish(times: int) -> None:
            for _ in range(times):
                with pytest.raises((RuntimeError, TypeError)):
                    course.log.append_now(event)

        assert leak(publish) < 100
    receipt = course.log.append_now(event)
    assert receipt
    assert receipt.position
    assert receipt.position.offset == 2
    assert not receipt.duplicate


def leak(work: Callable[[int], None]) -> int:
    """Return the number of blocks of memory that 1 000 rounds of some work leave."""
    work(20)
    gc.collect()
    before = sys.getallocatedblocks()
    work(1_000)
    gc.collect()
    return sys.getallocatedblocks() - before


async def test_failed_announcement_keeps_the_event_and_leaves_no_memory(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2_000):  # beyond the number of ids that a history keeps
        course.publish_to("job.1")
        course.now += 400.0

    class BrokenListener(LocalListener):
        def receive(self, events: Sequence[Event]) -> int:
            raise RuntimeError(f"broken for {len(events)}")

    monkeypatch.setattr(listener_queue, "LocalListener", BrokenListener)
    async with course.log.listen() as listener:
        await listener.subscribe(["job.1"])

        def publish(times: int) -> None:
            for _ in range(times):
                course.now += 400.0
                with pytest.raises(RuntimeError, match="broken"):
                    course.publish_to("job.1")

        assert leak(publish) < 100
    tops = await course.log.positions(["job.1"])
    assert tops["job.1"].offset == 1 + 2_000 + 1_020


async def test_many_publishes_leave_no_memory(course: Course) -> None:
    async with course.log.listen() as listener:
        await listener.subscribe(["job.2"])

        def publish(times: int) -> None:
            for _ in range(times):
                course.now += 400.0
                course.publish_to("job.1")

        publish(2_000)
        assert leak(publish) < 100


def test_arguments_of_other_types_are_refused(course: Course) -> None:
    assert memory.append_now
    with pytest.raises(TypeError):
        memory.append_now({}, course.log, time.monotonic, None)  # type: ignore[arg-type]


async def test_core_refuses_classes_of_other_fields_and_keeps_its_own(course: Course) -> None:
    assert compiled("append_now", dict, dict, dict, 1) is None
    async with course.log.listen() as listener:
        await listener.subscribe(["job.1"])
        for _ in range(3):  # a limit of 1 would refuse the third
            course.publish_to("job.1")
