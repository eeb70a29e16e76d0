"""Copy of an earlier log: each event once and in order, the latest of each key, lost events."""

from collections.abc import AsyncIterator, Sequence

import pytest

from realtime_bridge import BackendUnavailableError, Broadcaster, Event, PublishError, Receipt
from realtime_bridge.backend.log import Log
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.retention import Retention
from realtime_bridge.publishing.log_forwarder import LogForwarder
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.memory import MemoryBackend

CHANNEL = "job.7"


class SourceLog(MemoryBackend):
    """Memory log of 10 events a channel, which lists the channels of its appends."""

    def __init__(self) -> None:
        super().__init__(retention=Retention(events=10))
        self._names: dict[str, None] = {}

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        self._names |= dict.fromkeys(event.channel for event in events)
        return await super().append(events)

    async def channels(self, *, stored: bool = False) -> Sequence[str]:
        return list(self._names)


class TargetLog(MemoryBackend):
    """Memory log that stores the next appends, and then reports a failure."""

    in_process = False

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        receipts = await super().append(events)
        if self.failures:
            self.failures -= 1
            raise BackendUnavailableError("the connection was lost")
        return receipts


@pytest.fixture
def source() -> SourceLog:
    return SourceLog()


@pytest.fixture
def target() -> TargetLog:
    return TargetLog()


@pytest.fixture
async def forwarder(source: SourceLog, target: TargetLog) -> AsyncIterator[LogForwarder]:
    timing = PublishTiming(retries=0)
    async with Broadcaster(log=target, timing=timing) as broadcaster:
        yield LogForwarder(source, broadcaster, target)


def keyed(**data: int) -> list[Event]:
    return [Event(channel=CHANNEL, event="x", data=one, key=key) for key, one in data.items()]


async def history(log: Log, channel: str = CHANNEL) -> list[object]:
    top = (await log.positions([channel]))[channel]
    page = await log.read(channel, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return [event.data for event in page.events]


async def latest(log: Log) -> dict[str | None, object]:
    page = await log.latest(CHANNEL)
    return {event.key: event.data for event in page.events}


async def test_first_pass_copies_the_latest_of_each_key(
    forwarder: LogForwarder, source: SourceLog, target: TargetLog
) -> None:
    await source.append([*keyed(a=1, b=2), *numbered(CHANNEL, 2), *keyed(a=3)])
    assert await forwarder.copy() == 2
    assert await history(target) == [2, 3]
    assert await latest(target) == {"b": 2, "a": 3}


async def test_key_that_the_target_has_is_kept(
    forwarder: LogForwarder, source: SourceLog, target: TargetLog
) -> None:
    await source.append(keyed(a=1, b=2))
    await target.append(keyed(a=9))
    assert await forwarder.copy() == 1
    assert await latest(target) == {"b": 2, "a": 9}


async def test_first_pass_begins_an_epoch_in_the_target(
    forwarder: LogForwarder, source: SourceLog, target: TargetLog
) -> None:
    names = [CHANNEL, "other"]
    before = await target.positions(names)
    await source.append(numbered(CHANNEL, 1))
    await forwarder.copy()
    after = await target.positions(names)
    assert after[CHANNEL].epoch != before[CHANNEL].epoch
    assert after["other"] == before["other"]


async def test_later_passes_copy_each_event_once_with_its_fields(
    forwarder: LogForwarder, source: SourceLog, target: TargetLog
) -> None:
    await source.append(numbered(CHANNEL, 3))
    assert await forwarder.copy() == 0
    events = [
        Event(channel=CHANNEL, event="x", data=n, key="k", source="c_1", id=f"id-{n}")
        for n in range(5)
    ]
    await source.append(events[:2])
    assert await forwarder.copy() == 2
    await source.append(events[2:])
    assert await forwarder.copy() == 3
    assert await forwarder.copy() == 0
    top = (await target.positions([CHANNEL]))[CHANNEL]
    page = await target.read(CHANNEL, Position(top.epoch, 0))
    assert isinstance(page, Page)
    assert [(event.id, event.data, event.key, event.source) for event in page.events] == [
        (event.id, event.data, event.key, event.source) for event in events
    ]


async def test_channel_after_the_first_pass_is_copied_from_its_start(
    forwarder: LogForwarder, source: SourceLog, target: TargetLog
) -> None:
    await forwarder.copy()
    await source.append(numbered("new", 4))
    assert await forwarder.copy() == 4
    assert len(await history(target, "new")) == 4


async def test_failed_pass_is_repeated_without_duplicates(
    forwarder: LogForwarder, source: SourceLog, target: TargetLog
) -> None:
    await forwarder.copy()
    await source.append(numbered(CHANNEL, 3))
    target.failures = 1
    with pytest.raises(PublishError):
        await forwarder.copy()
    await source.append(numbered(CHANNEL, 2))
    assert await forwarder.copy() == 5
    assert len(await history(target)) == 5


async def test_events_lost_before_the_copy_are_a_new_epoch(
    forwarder: LogForwarder, source: SourceLog, target: TargetLog
) -> None:
    await source.append(keyed(a=1))
    await forwarder.copy()
    await target.append(keyed(b=2))
    before = (await target.positions([CHANNEL]))[CHANNEL]
    await source.append([*numbered(CHANNEL, 30), *keyed(c=3)])
    await forwarder.copy()
    after = (await target.positions([CHANNEL]))[CHANNEL]
    assert after.epoch != before.epoch
    assert await latest(target) == {"a": 1, "b": 2, "c": 3}
    await source.append(numbered(CHANNEL, 1))
    assert await forwarder.copy() == 1
    assert (await target.positions([CHANNEL]))[CHANNEL].epoch == after.epoch
