"""Failover: switches of all processes together, and no lost event."""

import asyncio
from collections.abc import Sequence
from typing import Self

import pytest
from msgspec.structs import replace

from realtime_bridge import (
    BackendUnavailableError,
    Broadcaster,
    ConfigurationError,
    Event,
    PublishError,
    Receipt,
)
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.publishing.failover import CHANNEL, Failover, FailoverTarget
from realtime_bridge.publishing.timing import FailoverTiming
from realtime_bridge.settings import Settings
from realtime_bridge_backends.memory import MemoryBackend


class Target(Backend):
    """Target that records its events, hangs, or fails."""

    limits = PushLimits(event_bytes=1_000, events=10, channels=1)

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.hangs = False
        self.pushed: list[object] = []
        self.calls = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls()

    async def push(self, events: Sequence[Event]) -> None:
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure
        self.pushed += [event.data for event in events]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


TIMING = FailoverTiming()


class Node:
    """Publishing process with two targets and our own server, which comes last by default."""

    def __init__(
        self,
        log: MemoryBackend,
        clock: Clock,
        timing: FailoverTiming = TIMING,
        order: Sequence[str] = ("first", "second", "websocket"),
    ) -> None:
        self.first, self.second = Target(), Target()
        backends = {"first": self.first, "second": self.second, "websocket": None}
        targets = [FailoverTarget(name, backends[name]) for name in order]
        self.failover = Failover(targets, log, clock=clock, timing=timing)
        self.broadcaster = Broadcaster(log=log, backend=self.failover)
        self._clock = clock

    @property
    def active(self) -> str:
        return self.failover.active.name

    async def publish(self, *data: object, apart: float = 1.0) -> list[bool]:
        """Publish in turn, so many seconds apart, and return whether each was pushed."""
        pushed = []
        for value in data:
            self._clock.now += apart
            receipt = await self.broadcaster.publish("job.7", "job.step", value)
            assert receipt.position
            pushed.append(receipt.pushed)
        return pushed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def node(log: MemoryBackend, clock: Clock) -> Node:
    return Node(log, clock)


DOWN = BackendUnavailableError("it is down")


async def test_first_target_is_active_while_it_works(node: Node) -> None:
    assert await node.publish(1, 2) == [True, True]
    assert node.first.pushed == [1, 2]
    assert not node.second.calls


async def test_fifth_failure_goes_through_the_next_target(node: Node) -> None:
    node.first.failure = DOWN
    assert await node.publish(1, 2, 3, 4, 5, 6) == [False] * 4 + [True, True]
    assert (node.active, node.second.pushed) == ("second", [5, 6])


async def test_success_between_failures_keeps_the_target(node: Node) -> None:
    for _ in range(2):
        node.first.failure = DOWN
        await node.publish(1, 2, 3, 4)
        node.first.failure = None
        assert await node.publish(5) == [True]
    assert node.active == "first"


async def test_own_server_delivers_when_all_providers_fail(node: Node) -> None:
    node.first.failure = node.second.failure = DOWN
    await node.publish(*range(10))
    assert await node.publish(10) == [True]
    assert node.active == "websocket"


async def test_refused_event_is_no_failure_of_its_target(
    node: Node,
) -> None:
    node.first.failure = PublishError("too large")
    assert await node.publish(*range(10)) == [False] * 10
    assert node.active == "first"


async def test_push_that_times_out_is_a_failure(log: MemoryBackend, clock: Clock) -> None:
    node = Node(log, clock, FailoverTiming(push_seconds=0.01))
    node.first.hangs = True
    assert await node.publish(*range(5)) == [False] * 4 + [True]
    assert node.second.pushed == [4]


async def test_other_processes_switch_without_failures(
    node: Node, log: MemoryBackend, clock: Clock
) -> None:
    other = Node(log, clock)
    await other.publish(0)
    node.first.failure = DOWN
    await node.publish(1, 2, 3, 4, 5)
    await other.publish(6, apart=5)
    assert (other.active, other.second.pushed) == ("second", [6])


async def test_processes_that_fail_together_switch_once(
    node: Node, log: MemoryBackend, clock: Clock
) -> None:
    other = Node(log, clock)
    node.first.failure = other.first.failure = DOWN
    for _ in range(5):
        await node.publish("a", apart=0.1)
        await other.publish("b", apart=0.1)
    assert (node.active, other.active) == ("second", "second")
    assert (await log.positions([CHANNEL]))[CHANNEL].offset == 1


async def test_first_record_decides_between_two_choices(
    node: Node, log: MemoryBackend, clock: Clock
) -> None:
    other = Node(log, clock, order=("first", "websocket", "second"))
    node.first.failure = other.first.failure = DOWN
    for _ in range(5):
        await node.publish("a", apart=0.1)
        await other.publish("b", apart=0.1)
    assert (node.active, other.active) == ("second", "second")


async def test_late_process_starts_with_the_active_target(
    node: Node, log: MemoryBackend, clock: Clock
) -> None:
    node.first.failure = DOWN
    await node.publish(*range(5))
    late = Node(log, clock)
    await late.publish("late")
    assert (late.first.calls, late.second.pushed) == (0, ["late"])


async def test_first_target_is_active_again_after_a_minute(node: Node) -> None:
    node.first.failure = DOWN
    await node.publish(*range(5))
    await node.publish("x", "x", apart=31)
    assert node.first.calls == 5 + 2
    node.first.failure = None
    await node.publish("a", "b", apart=31)
    assert node.active == "second"
    await node.publish("c", apart=31)
    assert node.active == "first"
    await node.publish("d")
    assert node.first.pushed == ["a", "b", "c", "d"]
    assert node.second.pushed[-4:] == ["a", "b", "c", "d"]


async def test_both_targets_get_the_events_of_a_planned_switch(node: Node) -> None:
    node.first.failure = DOWN
    await node.publish(*range(5))
    node.first.failure = None
    await node.publish("a", "b", "c", apart=31)
    assert node.active == "first"
    await node.publish("d")
    node.second.hangs = True
    await node.publish("e", apart=30)
    node.second.hangs = False
    node.second.failure = DOWN
    await node.publish("f", apart=9)
    node.second.failure = None
    await node.publish("g", apart=2)
    assert node.first.pushed[-4:] == ["d", "e", "f", "g"]
    assert node.second.pushed[-2:] == ["c", "d"]


class FragileLog(MemoryBackend):
    """Log that fails while it is down."""

    down = False

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self.down:
            raise DOWN
        return await super().append(events)

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        if self.down:
            raise DOWN
        return await super().latest(channel, after=after, limit=limit, key=key)


async def test_targets_switch_while_the_log_is_down(clock: Clock) -> None:
    log = FragileLog()
    node = Node(log, clock)
    node.first.failure = DOWN
    await node.publish(*range(4))
    event = Event(channel="job.7", event="job.step", data=5)
    log.down = True
    await node.failover.push([event])
    assert (node.active, node.second.pushed) == ("second", [5])


async def test_limits_are_those_of_the_active_target(node: Node) -> None:
    assert node.failover.limits.event_bytes == 1_000
    node.first.failure = node.second.failure = DOWN
    await node.publish(*range(10))
    assert node.failover.limits.event_bytes == MAX_DATA_BYTES


def test_failover_is_configured_in_order_and_needs_a_log() -> None:
    broadcaster = Broadcaster.from_settings(Settings(backend="memory", failover=("null",)))
    assert isinstance(broadcaster.backend, Failover)
    assert [target.name for target in broadcaster.backend.targets] == ["memory", "null"]
    with pytest.raises(ConfigurationError, match="REALTIME_FAILOVER needs a log"):
        Broadcaster.from_settings(Settings(backend="null", log="none", failover=("websocket",)))
    with pytest.raises(ConfigurationError, match="names a backend twice: memory, null, memory"):
        Broadcaster.from_settings(Settings(backend="memory", failover=("null", "memory")))


def test_streams_have_the_pace_of_the_slowest_target() -> None:
    slow = Target()
    slow.limits = replace(Target.limits, stream_seconds=0.15)
    targets = [FailoverTarget("websocket", None), FailoverTarget("slow", slow)]
    assert Failover(targets, MemoryBackend()).limits.stream_seconds == 0.15
