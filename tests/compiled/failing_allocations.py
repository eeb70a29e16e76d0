"""Functions of the core while allocations of memory fail; `make sanitize` runs this alone.

Each call either succeeds or raises MemoryError. The sanitizer of addresses finds memory that is
used after it was freed, or freed twice. Events are created before: orjson crashes where an
allocation fails.
"""

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from realtime_bridge.model.event import Event, create_event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.retention import Retention
from realtime_bridge.protocol.publishing import plain_append
from realtime_bridge.server.fanout import flush
from realtime_bridge.server.fanout.channel_fanout import ChannelFanout
from realtime_bridge.server.statistics import ServerStatistics
from realtime_bridge_backends import memory
from realtime_bridge_backends.memory import MemoryBackend

testcapi: Any = import_module("_testcapi")

ALLOCATIONS = 60
"""More allocations than one call makes."""

BLOCK = 64
"""Elements of a deque's block: one append in so many allocates another one."""


def failures(work: Callable[[], object]) -> int:
    """Run some work, in each run another allocation fails; return in how many runs it raised."""
    count = 0
    for number in range(1, ALLOCATIONS):
        testcapi.set_nomemory(number, number + 1)
        try:
            work()
        except MemoryError:
            count += 1
        finally:
            testcapi.remove_mem_hooks()
    return count


def plain_event() -> Event:
    return create_event("job.1", "job.step", {"x": "x" * 200}, None, "key", "source")


@pytest.fixture
def log() -> MemoryBackend:
    log = MemoryBackend(Retention(events=4), clock=time.monotonic)
    for _ in range(5):
        log.append_now(plain_event())
    return log


def test_single_publish(log: MemoryBackend) -> None:
    events = iter([plain_event() for _ in range(ALLOCATIONS)])
    assert failures(lambda: log.append_now(next(events)))
    assert log.append_now(plain_event())


@pytest.mark.parametrize("is_compiled", [True, False])
async def test_failed_append_leaves_the_event_or_no_trace(
    monkeypatch: pytest.MonkeyPatch, *, is_compiled: bool
) -> None:
    if not is_compiled:
        monkeypatch.setattr(memory, "append_now", None)
        monkeypatch.setattr(plain_append, "append_plain", None)
    log = MemoryBackend(Retention(events=10_000), clock=time.monotonic)
    events = [plain_event() for _ in range(BLOCK * ALLOCATIONS)]
    queue = iter(events)
    for _ in range(BLOCK):
        assert failures(lambda: log.append_now(next(queue)))
    stored: set[str] = set()
    position = Position((await log.positions(["job.1"]))["job.1"].epoch, 0)
    while isinstance(page := await log.read("job.1", position), Page) and page.events:
        stored |= {event.id for event in page.events}
        position = page.events[-1].position or position
    assert len(stored) == page.top.offset
    # A repeated publish of an event that failed stores it; none is lost as a duplicate.
    for event in events[: BLOCK * (ALLOCATIONS - 1)]:
        receipt = log.append_now(event)
        assert receipt
        assert receipt.duplicate == (event.id in stored)


async def test_fan_out(log: MemoryBackend) -> None:
    position = (await log.positions(["job.1"]))["job.1"]
    fanouts = {"job.1": ChannelFanout("job.1", position, ServerStatistics())}
    for _ in range(3):
        log.append_now(plain_event())
    page = await log.read("job.1", position)
    assert isinstance(page, Page)
    assert flush.fan_out
    fan_out, events = flush.fan_out, list(page.events)
    assert failures(lambda: fan_out(events, fanouts, 1.0))
