"""Publishes of one turn of the event loop, joined into one call of the log."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import pytest

from realtime_bridge import (
    BackendUnavailableError,
    Broadcaster,
    Event,
    InvalidEventError,
    KeyOwnedError,
    PublishError,
    Receipt,
)
from realtime_bridge.backend.log import JoiningLog, Result
from realtime_bridge.publishing.timing import PublishTiming
from tests.server.fakes import SlowLog

AT_ONCE = PublishTiming(retry_delay=lambda _: 0.0)


class RemoteLog(SlowLog, JoiningLog):
    """Log that answers each call after a turn, or when the test opens its gate."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        """Ids of the events of each call."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.waits = asyncio.Event()
        """Set when a call waits at the gate."""
        self.joined = asyncio.Event()
        """Set by the first joined call."""
        self.invalid: set[str] = set()
        """Ids of events that the log refuses."""
        self.losses: list[bool] = []
        """Calls whose answer is lost, from the next one on; True: before the append."""

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        (result,) = await self._append([events])
        if not isinstance(result, list):
            raise result
        return result

    async def append_joined(self, batches: Sequence[Sequence[Event]]) -> list[Result]:
        self.joined.set()
        return await self._append(batches)

    async def _append(self, batches: Sequence[Sequence[Event]]) -> list[Result]:
        self.calls.append([event.id for batch in batches for event in batch])
        is_lost = self.losses.pop(0) if self.losses else None
        if is_lost:
            raise BackendUnavailableError("the call was lost")
        results = [await self._result(batch) for batch in batches]
        await asyncio.sleep(0)
        self.waits.set()
        await self.gate.wait()
        if is_lost is not None:
            raise BackendUnavailableError("the answer was lost")
        return results

    async def _result(self, batch: Sequence[Event]) -> Result:
        if self.invalid & {event.id for event in batch}:
            return InvalidEventError("an event is refused")
        return await self.memory.append(batch)


@pytest.fixture
def log() -> RemoteLog:
    return RemoteLog()


@pytest.fixture
async def broadcaster(log: RemoteLog) -> AsyncIterator[Broadcaster]:
    async with Broadcaster(log=log, timing=AT_ONCE) as broadcaster:
        yield broadcaster


def publish(
    broadcaster: Broadcaster, names: Sequence[str], channel: str = "job.7"
) -> list[asyncio.Task[Receipt]]:
    return [
        asyncio.ensure_future(broadcaster.publish(channel, "job.step", name, id=name))
        for name in names
    ]


def offsets(receipts: Sequence[Receipt]) -> list[int]:
    return [receipt.position.offset for receipt in receipts if receipt.position]


async def test_publishes_of_a_turn_are_one_call_behind_the_first(
    broadcaster: Broadcaster, log: RemoteLog
) -> None:
    names = [f"id-{number}" for number in range(100)]
    receipts = await asyncio.gather(*publish(broadcaster, names))
    assert log.calls == [names[:1], names[1:]]
    assert [receipt.id for receipt in receipts] == names
    assert offsets(receipts) == [*range(1, 101)]
    assert broadcaster.published == 100


async def test_publish_alone_is_a_call_at_once(broadcaster: Broadcaster, log: RemoteLog) -> None:
    for number in range(3):
        (publishing,) = publish(broadcaster, [f"id-{number}"])
        await asyncio.sleep(0)
        assert len(log.calls) == number + 1
        await publishing


async def test_calls_of_a_turn_have_at_most_500_events(
    broadcaster: Broadcaster, log: RemoteLog
) -> None:
    receipts = await asyncio.gather(*publish(broadcaster, [f"id-{n}" for n in range(1_201)]))
    assert [len(call) for call in log.calls] == [1, 500, 500, 200]
    assert offsets(receipts) == [*range(1, 1_202)]


async def test_refused_publish_has_its_own_error(broadcaster: Broadcaster, log: RemoteLog) -> None:
    log.invalid = {"c"}
    results = await asyncio.gather(*publish(broadcaster, "abcd"), return_exceptions=True)
    assert isinstance(results.pop(2), InvalidEventError)
    assert [one.id for one in results if isinstance(one, Receipt)] == ["a", "b", "d"]
    assert log.calls == [["a"], ["b", "c", "d"]]


async def test_plain_event_on_an_owned_key_fails_alone(
    broadcaster: Broadcaster, log: RemoteLog
) -> None:
    owner = Event(
        channel="job.7", event="run.started", data=None, key="k", attempt="A", take="always"
    )
    await broadcaster.publish_many([owner])
    first, *others = publish(broadcaster, "abc")
    owned = asyncio.ensure_future(broadcaster.publish("job.7", "job.step", 1, key="k"))
    with pytest.raises(KeyOwnedError):
        await owned
    assert offsets(await asyncio.gather(first, *others)) == [2, 3, 4]
    assert broadcaster.published == 4


async def test_cancelled_publish_leaves_the_others(
    broadcaster: Broadcaster, log: RemoteLog
) -> None:
    log.gate.clear()
    publishing = publish(broadcaster, "abcd")
    await log.joined.wait()
    publishing[2].cancel()
    await asyncio.wait([publishing[2]])
    log.gate.set()
    receipts = await asyncio.gather(*publishing[:2], publishing[3])
    assert offsets(receipts) == [1, 2, 4]
    assert publishing[2].cancelled()


async def test_publish_never_overtakes_those_that_wait(
    broadcaster: Broadcaster, log: RemoteLog
) -> None:
    log.gate.clear()
    first = publish(broadcaster, "a")
    await log.waits.wait()
    # In one turn: the second joins, the first has its answer, the third finds no call in flight.
    second = publish(broadcaster, "b")
    log.gate.set()
    third = publish(broadcaster, "c")
    assert offsets(await asyncio.gather(*first, *second, *third)) == [1, 2, 3]
    assert log.calls == [["a"], ["b", "c"]]


@pytest.mark.parametrize("before", [True, False], ids=["call", "answer"])
async def test_lost_call_is_repeated_with_the_same_ids(
    broadcaster: Broadcaster, log: RemoteLog, *, before: bool
) -> None:
    names = [f"id-{number}" for number in range(20)]
    log.losses = [before, before, before]
    receipts = await asyncio.gather(*publish(broadcaster, names))
    assert [receipt.id for receipt in receipts] == names
    assert sorted(offsets(receipts)) == [*range(1, 21)]
    assert all(receipt.duplicate for receipt in receipts[1:3]) is not before


async def test_publishes_fail_apart_while_the_log_is_away(
    broadcaster: Broadcaster, log: RemoteLog
) -> None:
    log.losses = [True] * 100
    results = await asyncio.gather(*publish(broadcaster, "abc"), return_exceptions=True)
    assert [type(result) for result in results] == [BackendUnavailableError] * 3
    calls_of: dict[str, int] = defaultdict(int)
    for call in log.calls:
        for name in call:
            calls_of[name] += 1
    assert calls_of == {"a": 5, "b": 5, "c": 5}


async def test_joined_call_has_the_time_limit_of_a_publish(log: RemoteLog) -> None:
    log.gate.clear()
    timing = PublishTiming(call_seconds=0.05)
    async with Broadcaster(log=log, timing=timing) as broadcaster:
        results = await asyncio.gather(*publish(broadcaster, "abc"), return_exceptions=True)
    assert [type(result) for result in results] == [BackendUnavailableError] * 3
    assert "within 0.05 s" in str(results[-1])


async def test_joined_publishes_after_a_rollback_start_a_new_epoch(
    broadcaster: Broadcaster, log: RemoteLog
) -> None:
    for number in range(5):
        before = await broadcaster.publish("job.7", "job.step", number)
    log.lose("job.7", 3)
    first, *joined = [*publish(broadcaster, "a", "job.8"), *publish(broadcaster, "bcd")]
    receipts = await asyncio.gather(*joined)
    assert log.calls[-3:] == [["a"], ["b", "c", "d"], ["b", "c", "d"]]
    assert offsets(receipts) == [1, 2, 3]
    assert before.position
    assert before.position.epoch not in {one.position and one.position.epoch for one in receipts}
    assert offsets([await first]) == [1]


async def test_end_of_the_broadcaster_ends_joined_publishes(log: RemoteLog) -> None:
    async with Broadcaster(log=log, timing=AT_ONCE) as broadcaster:
        log.gate.clear()
        first, *joined = publish(broadcaster, "abc")
        await log.joined.wait()
    results = await asyncio.gather(*joined, return_exceptions=True)
    assert [type(result) for result in results] == [PublishError] * 2
    first.cancel()
    await asyncio.wait([first])
