"""Ends of jobs that are published whatever their values are, and whatever fails."""

import asyncio
import math
import signal
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import orjson
import pytest

from realtime_bridge import (
    BackendAuthError,
    BlockingBroadcaster,
    Broadcaster,
    Event,
    PublishError,
    Receipt,
)
from realtime_bridge.jobs.async_job import AsyncJob
from realtime_bridge.jobs.payloads import JobData
from realtime_bridge.jobs.values import TEXT_BYTES
from realtime_bridge.model.receipt import Lease, Renewal
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge_backends.memory import MemoryBackend


class FailingLog(MemoryBackend):
    """Log that raises the given errors first."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.errors = list(errors)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self.errors:
            raise self.errors.pop(0)
        self.events += events
        return await super().append(events)

    @property
    def names(self) -> list[str]:
        return [event.event for event in self.events]


@pytest.fixture
def log() -> FailingLog:
    return FailingLog()


@pytest.fixture
async def broadcaster(log: FailingLog) -> AsyncIterator[Broadcaster]:
    async with Broadcaster(log=log) as broadcaster:
        yield broadcaster


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "error", [ValueError("x" * 2_000_000), UnreadableError(), ValueError("\ud83d"), ValueError()]
)
async def test_every_error_ends_the_job(
    broadcaster: Broadcaster, log: FailingLog, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised:
        async with broadcaster.job("user-42", id="a1"):
            raise error
    assert raised.value is error
    end = log.events[-1].data
    assert end["state"] == "failed"
    assert 0 < len(end["error"].encode()) <= TEXT_BYTES


@pytest.mark.parametrize(
    ("code", "state"), [(0, "completed"), (None, "completed"), (3, "failed"), ("bad", "failed")]
)
async def test_exit_of_the_program_ends_the_job(
    broadcaster: Broadcaster, log: FailingLog, code: int | str | None, state: str
) -> None:
    with pytest.raises(SystemExit):
        async with broadcaster.job("user-42"):
            raise SystemExit(code)
    assert log.events[-1].data["state"] == state


ODD_VALUES: list[Any] = [
    PurePosixPath("/srv/a"),
    Decimal("0.5"),
    b"bytes",
    math.nan,
    10**400,
    object(),
    UnreadableError(),
    "half \ud83d",
    ["list"],
]


@pytest.mark.parametrize("value", ODD_VALUES, ids=[type(value).__name__ for value in ODD_VALUES])
async def test_odd_values_are_published_as_text_and_numbers(
    broadcaster: Broadcaster, log: FailingLog, value: Any
) -> None:
    async with broadcaster.job("user-42", id=value, title=value) as job:
        job.progress(value, value, stage=value)
        items: Any = job.track([1, 2], total=value)
        assert [item async for item in items] == [1, 2]
    assert log.names[-1] == "job.completed"
    for event in log.events:
        assert JobData.model_validate(event.data, strict=True)


async def test_length_that_raises_does_not_fail_the_work(broadcaster: Broadcaster) -> None:
    class Items(list[int]):
        def __len__(self) -> int:
            raise ValueError("unknown")

    async with broadcaster.job("user-42") as job:
        assert [item async for item in job.track(Items([1, 2]))] == [1, 2]


@pytest.mark.parametrize("number", [0, 7, 653247040368672768])
async def test_numeric_id_is_text(broadcaster: Broadcaster, log: FailingLog, number: Any) -> None:
    async with broadcaster.job("user-42", id=number) as job:
        assert job.id == str(number)
    assert log.events[-1].key == f"job-{number}"


async def test_long_id_is_the_same_key_in_each_process(
    broadcaster: Broadcaster, log: FailingLog
) -> None:
    for ending in ("a", "a", "b"):
        async with broadcaster.job("user-42", id="x" * 300 + ending) as job:
            pass
        assert log.events[-1].data["job"] == job.id
    assert len({event.key for event in log.events}) == 2


async def test_refused_end_is_published_with_fewer_details(log: FailingLog) -> None:
    async def fail(job: AsyncJob) -> None:
        async with job:
            job.progress(0.5, "y" * 5_000, stage="z" * 5_000)
            raise ValueError("x" * 5_000)

    async with Broadcaster(log=log, limit_event_bytes=2_000) as broadcaster:
        with pytest.raises(ValueError, match="xxx"):
            await fail(broadcaster.job("user-42", title="A job"))
    end = log.events[-1].data
    assert (end["state"], end["title"], end["message"]) == ("failed", "A job", None)
    assert end["error"].endswith(" … (5,000 characters in all)")


class FullLog(FailingLog):
    """Log that is full at the end of job `a`, and notes whose leases are renewed."""

    def __init__(self) -> None:
        super().__init__()
        self.renewals: asyncio.Queue[set[str]] = asyncio.Queue()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if any(event.event == "job.completed" and event.key == "job-a" for event in events):
            raise PublishError("The log is full: give it more memory")
        return await super().append(events)

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        self.renewals.put_nowait({lease.key for lease in leases})
        return await super().renew(leases)


async def test_lost_end_of_a_job_ends_the_renewals_too() -> None:
    log, timing = FullLog(), PublishTiming(renew_seconds=0.01)
    async with (
        Broadcaster(log=log, timing=timing) as broadcaster,
        broadcaster.job("user-42", id="b"),
    ):
        async with broadcaster.job("user-42", id="a"):
            while "job-a" not in await log.renewals.get():
                pass
        log.renewals = asyncio.Queue()
        assert await log.renewals.get() == {"job-b"}


@pytest.mark.parametrize(
    "error",
    [RuntimeError("closed"), OSError(), TypeError("a mistake"), BackendAuthError("rotated")],
)
async def test_raw_error_of_the_log_is_tried_again(error: Exception) -> None:
    log = FailingLog(error)
    async with Broadcaster(log=log) as broadcaster, broadcaster.job("user-42"):
        pass
    assert log.names == ["job.started", "job.completed"]


def test_broadcaster_that_cannot_be_created_fails_no_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def create() -> Broadcaster:
        raise ZeroDivisionError("a mistake")

    broadcaster = BlockingBroadcaster(create)
    with pytest.raises(ValueError, match="of the work"), broadcaster.job("user-42"):
        raise ValueError("of the work")
    assert "job reports nothing" in caplog.text


def test_unsent_end_is_published_once_by_another_process() -> None:
    lost, log = FailingLog(*[OSError("away")] * 1_000), FailingLog()
    timing = PublishTiming(close_seconds=0.1)
    with BlockingBroadcaster(lambda: Broadcaster(log=lost, timing=timing)) as child:
        job = child.job("user-42", id="a1", title="A job")
        assert not job.report("failed", error="no sound")
    body = job.unsent()
    assert body
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as parent:
        for _ in range(2):
            parent.job("user-42", id="a1").forward(orjson.loads(body))
    (page_event,) = {event.id: event for event in log.events}.values()
    assert page_event.key == "job-a1"
    assert (page_event.data["title"], page_event.data["error"]) == ("A job", "no sound")


class TimeLimitError(Exception):
    """Exception by which a queue interrupts a task, wherever it is."""


@pytest.mark.parametrize("error", [TimeLimitError(), KeyboardInterrupt()])
def test_interruption_during_a_report_reaches_the_work(
    log: FailingLog, error: BaseException
) -> None:
    broadcasters = [None, Broadcaster(log=log)]

    def create() -> Broadcaster:
        broadcaster = broadcasters.pop(0)
        if broadcaster is None:
            raise error
        return broadcaster

    with BlockingBroadcaster(create) as broadcaster:
        job = broadcaster.job("user-42")
        with pytest.raises(type(error)):
            job.progress(0.5)
        job.report("failed", error=error)
    assert log.names == ["job.progress", "job.failed"]


class HangingLog(FailingLog):
    """Log that a test stops."""

    in_process = False
    is_hanging = False

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self.is_hanging:
            await asyncio.sleep(3_600)
        return await super().append(events)


def test_alarm_of_the_task_is_not_taken_for_a_wait() -> None:
    def ring(*_: object) -> None:
        raise TimeoutError("alarm of the task")

    log = HangingLog()
    timing = PublishTiming(report_seconds=10, close_seconds=0)
    former = signal.signal(signal.SIGALRM, ring)
    try:
        with BlockingBroadcaster(lambda: Broadcaster(log=log, timing=timing)) as broadcaster:
            broadcaster.job("user-42").report("started")
            log.is_hanging = True
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(TimeoutError, match="of the task"):
                broadcaster.job("user-42").report("started")
    finally:
        signal.signal(signal.SIGALRM, former)
