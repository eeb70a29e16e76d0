"""When one carrier fails another carries on, in step with all processes, and nothing is lost."""

import asyncio
from collections.abc import Sequence
from typing import Self

import pytest

from realtime_bridge import (
    BackendUnavailableError,
    Broadcaster,
    ConfigurationError,
    Event,
    PublishError,
    Receipt,
)
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.model.event import MAX_DATA_BYTES
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.publishing.failover import CHANNEL, Failover, FailoverTarget
from realtime_bridge.publishing.timing import FailoverTiming
from realtime_bridge.settings import Settings
from realtime_bridge_backends.memory import MemoryBackend


class Post(Backend):
    """A carrier that keeps what it is handed, or fails."""

    limits = PushLimits(event_bytes=1_000, events=10, channels=1)

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.hangs = False
        self.carried: list[object] = []
        self.tries = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls()

    async def push(self, events: Sequence[Event]) -> None:
        self.tries += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure
        self.carried += [event.data for event in events]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Node:
    """One process that publishes: two carriers, then our own server."""

    def __init__(
        self, log: MemoryBackend, clock: Clock, timing: FailoverTiming = FailoverTiming()
    ) -> None:
        self.first, self.second = Post(), Post()
        targets = [
            FailoverTarget("first", self.first),
            FailoverTarget("second", self.second),
            FailoverTarget("websocket", None),
        ]
        self.failover = Failover(targets, log, clock=clock, timing=timing)
        self.broadcaster = Broadcaster(log=log, backend=self.failover)
        self._clock = clock

    @property
    def active(self) -> str:
        return self.failover.active.name

    async def publish(self, *data: object, apart: float = 1.0) -> list[bool]:
        """Publish one after another, so many seconds apart, and return which were pushed."""
        pushed = []
        for one in data:
            self._clock.now += apart
            receipt = await self.broadcaster.publish("job.7", "job.step", one)
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


async def test_the_first_one_carries_while_it_works(node: Node) -> None:
    assert await node.publish(1, 2) == [True, True]
    assert node.first.carried == [1, 2]
    assert not node.second.tries


async def test_the_fifth_failure_goes_to_the_next_one_already(node: Node) -> None:
    node.first.failure = DOWN
    assert await node.publish(1, 2, 3, 4, 5, 6) == [False] * 4 + [True, True]
    assert (node.active, node.second.carried) == ("second", [5, 6])


async def test_where_all_providers_fail_our_own_server_delivers(node: Node) -> None:
    node.first.failure = node.second.failure = DOWN
    await node.publish(*range(10))
    assert await node.publish(10) == [True]
    assert node.active == "websocket"


async def test_an_event_that_is_refused_for_itself_is_no_failure_of_the_carrier(
    node: Node,
) -> None:
    node.first.failure = PublishError("too large")
    assert await node.publish(*range(10)) == [False] * 10
    assert node.active == "first"


async def test_push_that_times_out_is_a_failure(log: MemoryBackend, clock: Clock) -> None:
    node = Node(log, clock, FailoverTiming(push_seconds=0.01))
    node.first.hangs = True
    assert await node.publish(*range(5)) == [False] * 4 + [True]
    assert node.second.carried == [4]


async def test_other_processes_move_too_without_a_failure_of_their_own(
    node: Node, log: MemoryBackend, clock: Clock
) -> None:
    other = Node(log, clock)
    await other.publish(0)
    node.first.failure = DOWN
    await node.publish(1, 2, 3, 4, 5)
    await other.publish(6, apart=5)
    assert (other.active, other.second.carried) == ("second", [6])


async def test_processes_that_fail_together_move_once(
    node: Node, log: MemoryBackend, clock: Clock
) -> None:
    other = Node(log, clock)
    node.first.failure = other.first.failure = DOWN
    for _ in range(5):
        await node.publish("a", apart=0.1)
        await other.publish("b", apart=0.1)
    assert (node.active, other.active) == ("second", "second")
    assert (await log.positions([CHANNEL]))[CHANNEL].offset == 1


async def test_a_process_that_starts_later_begins_where_the_others_are(
    node: Node, log: MemoryBackend, clock: Clock
) -> None:
    node.first.failure = DOWN
    await node.publish(*range(5))
    late = Node(log, clock)
    await late.publish("late")
    assert (late.first.tries, late.second.carried) == (0, ["late"])


async def test_it_goes_back_when_the_first_has_worked_for_a_minute(node: Node) -> None:
    node.first.failure = DOWN
    await node.publish(*range(5))
    await node.publish("x", "x", apart=31)
    assert node.first.tries == 5 + 2
    node.first.failure = None
    await node.publish("a", "b", apart=31)
    assert node.active == "second"
    await node.publish("c", apart=31)
    assert node.active == "first"
    await node.publish("d")
    assert node.first.carried == ["a", "b", "c", "d"]
    assert node.second.carried[-3:] == ["a", "b", "c"]


class FragileLog(MemoryBackend):
    """Log that fails while it is down."""

    down = False

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self.down:
            raise DOWN
        return await super().append(events)

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        if self.down:
            raise DOWN
        return await super().latest(channel, after=after, limit=limit)


async def test_targets_switch_while_the_log_is_down(clock: Clock) -> None:
    log = FragileLog()
    node = Node(log, clock)
    node.first.failure = DOWN
    await node.publish(*range(4))
    event = Event(channel="job.7", event="job.step", data=5)
    log.down = True
    await node.failover.push([event])
    assert (node.active, node.second.carried) == ("second", [5])


async def test_its_limits_are_those_of_the_carrier_in_use(node: Node) -> None:
    assert node.failover.limits.event_bytes == 1_000
    node.first.failure = node.second.failure = DOWN
    await node.publish(*range(10))
    assert node.failover.limits.event_bytes == MAX_DATA_BYTES


def test_it_is_configured_in_order_and_needs_a_log() -> None:
    broadcaster = Broadcaster.from_settings(Settings(backend="memory", failover=("null",)))
    assert isinstance(broadcaster.backend, Failover)
    assert [target.name for target in broadcaster.backend.targets] == ["memory", "null"]
    with pytest.raises(ConfigurationError, match="REALTIME_FAILOVER needs a log"):
        Broadcaster.from_settings(Settings(backend="null", log="none", failover=("websocket",)))
    with pytest.raises(ConfigurationError, match="names a backend twice: memory, null, memory"):
        Broadcaster.from_settings(Settings(backend="memory", failover=("null", "memory")))
