"""Jobs: updates in order, the end always, and no failure of the work."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import pytest

from realtime_bridge import (
    BackendAuthError,
    BackendUnavailableError,
    BlockingBroadcaster,
    Broadcaster,
    Event,
    InvalidEventError,
    PublishError,
    Receipt,
)
from realtime_bridge.jobs.async_job import AsyncJob
from realtime_bridge.jobs.blocking_job import BlockingJob
from realtime_bridge_backends.memory import MemoryBackend

STEPS = 1_000 if "FULL_LOAD" in os.environ else 200
"""Steps of each of a thousand jobs; without a limit, each step would be an event."""


class RecordingLog(MemoryBackend):
    """Log that records the events that it accepts, after a number of failures."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.events: list[Event] = []
        self._failures = failures
        self._more = asyncio.Condition()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self._failures:
            self._failures -= 1
            raise BackendUnavailableError("away")
        receipts = await super().append(events)
        self.events += [
            event for event, receipt in zip(events, receipts, strict=True) if not receipt.refused
        ]
        async with self._more:
            self._more.notify_all()
        return receipts

    async def has(self, name: str, count: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: self.names.count(name) >= count)

    @property
    def names(self) -> list[str]:
        return [event.event for event in self.events]


@pytest.fixture
def log() -> RecordingLog:
    return RecordingLog()


@pytest.fixture
async def broadcaster(log: RecordingLog) -> AsyncIterator[Broadcaster]:
    async with Broadcaster(log=log) as broadcaster:
        yield broadcaster


def a_job(broadcaster: Broadcaster) -> AsyncJob:
    return broadcaster.job("user-42", id="a1", title="Transcribe call.mp3")


async def test_finished_job_is_started_and_completed(
    broadcaster: Broadcaster, log: RecordingLog
) -> None:
    async with a_job(broadcaster):
        pass
    assert log.names == ["job.started", "job.completed"]
    assert {event.key for event in log.events} == {"job-a1"}
    end = log.events[-1].data
    assert (end["state"], end["progress"], end["title"]) == ("completed", 1, "Transcribe call.mp3")
    assert end["version"] > log.events[0].data["version"]


@pytest.mark.parametrize("job_id", [0, "0", False])
async def test_falsy_id_is_an_id(broadcaster: Broadcaster, job_id: object) -> None:
    assert broadcaster.job("user-42", id=job_id).id == str(job_id)  # type: ignore[arg-type]


def test_job_of_a_broadcaster_that_is_not_entered_is_logged(
    log: RecordingLog, caplog: pytest.LogCaptureFixture
) -> None:
    with BlockingJob("user-42", Broadcaster(log=log)):
        pass
    assert "The broadcaster is not entered: enter it by `async with`" in caplog.text
    assert log.names == []


async def test_job_that_raises_reports_its_error(
    broadcaster: Broadcaster, log: RecordingLog
) -> None:
    with pytest.raises(ValueError, match="no sound"):
        async with a_job(broadcaster):
            raise ValueError("no sound")
    assert log.names[-1] == "job.failed"
    assert log.events[-1].data["error"] == "no sound"


@pytest.mark.parametrize("end", [KeyboardInterrupt, asyncio.CancelledError])
def test_interrupted_job_is_cancelled(log: RecordingLog, end: type[BaseException]) -> None:
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster:
        with pytest.raises(end), broadcaster.job("user-42"):
            raise end
        assert log.names[-1] == "job.cancelled"


async def test_progress_is_throttled_and_its_last_is_published(
    broadcaster: Broadcaster, log: RecordingLog
) -> None:
    async with a_job(broadcaster) as job:
        for count in range(1_000):
            job.progress(count / 1_000, f"{count}", stage="align")
    assert log.names == ["job.started", "job.progress", "job.completed"]
    last = log.events[1].data
    assert (last["progress"], last["message"], last["stage"]) == (0.999, "999", "align")


async def test_trailing_progress_is_published_during_the_job(
    broadcaster: Broadcaster, log: RecordingLog
) -> None:
    async with asyncio.timeout(10), a_job(broadcaster) as job:
        job.progress(0.1)
        await log.has("job.progress", 1)
        job.progress(0.2)
        job.progress(0.3)
        await log.has("job.progress", 2)
    assert [event.data["progress"] for event in log.events[1:3]] == [0.1, 0.3]


async def test_tracked_items_report_progress_and_seconds_left(
    broadcaster: Broadcaster, log: RecordingLog
) -> None:
    async with a_job(broadcaster) as job:
        assert [row async for row in job.track("abcd")] == ["a", "b", "c", "d"]
    assert log.events[-2].data["progress"] == 1
    assert log.events[-2].data["eta"] == 0


def test_blocking_job_tracks_items(log: RecordingLog) -> None:
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster:
        with broadcaster.job("user-42") as job:
            assert list(job.track(iter("abcd"), total=8)) == ["a", "b", "c", "d"]
        assert log.events[-2].data["progress"] == 0.5


async def test_failing_broadcaster_fails_no_job_and_catches_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = RecordingLog(failures=2)
    async with Broadcaster(log=log) as broadcaster, a_job(broadcaster):
        pass
    assert log.names == ["job.started", "job.completed"]
    assert "error='away'" in caplog.text


async def test_job_on_an_invalid_channel_is_refused(broadcaster: Broadcaster) -> None:
    with pytest.raises(InvalidEventError):
        broadcaster.job("no channel")


class RefusingLog(RecordingLog):
    """Log that refuses to connect a number of times."""

    def __init__(self, *refusals: PublishError) -> None:
        super().__init__()
        self._refusals = list(refusals)

    async def __aenter__(self) -> Self:
        if self._refusals:
            raise self._refusals.pop(0)
        return await super().__aenter__()


def test_report_waits_until_the_broadcaster_can_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = RefusingLog(BackendUnavailableError("away"), BackendUnavailableError("still away"))
    with (
        BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster,
        broadcaster.job("user-42"),
    ):
        pass
    assert log.names == ["job.started", "job.completed"]
    assert "error='away'" in caplog.text


def test_report_ends_when_the_broadcaster_cannot_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = (BackendAuthError("wrong key"), BackendAuthError("wrong key"))
    log = RefusingLog(*refused)
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster:
        with broadcaster.job("user-42") as job:
            pass
        assert log.names == []
        assert f"job reports nothing job={job.id} error='wrong key'" in caplog.text


def test_child_forked_within_a_job_reports_beside_its_parent() -> None:
    logs: list[RecordingLog] = []

    def make() -> Broadcaster:
        logs.append(RecordingLog())
        return Broadcaster(log=logs[-1])

    with BlockingBroadcaster(make) as broadcaster, broadcaster.job("user-42", id="a1") as job:
        job.progress(0.1)
        child = os.fork()
        if not child:
            job.progress(0.5)
            job.report("retrying")
            reported = [(event.event, event.data["progress"]) for event in logs[-1].events]
            os._exit(reported != [("job.progress", 0.5), ("job.retrying", 0.5)])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (log,) = logs
    assert log.names == ["job.started", "job.progress", "job.completed"]


def test_many_threads_report_on_one_job(log: RecordingLog) -> None:
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster:
        with broadcaster.job("user-42") as job, ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: list(job.track(range(1_000))), range(8)))
        assert log.names.count("job.completed") == 1
        versions = [event.data["version"] for event in log.events]
        assert versions == sorted(set(versions))


@pytest.mark.timed
async def test_thousand_jobs_publish_four_events_a_second_each(
    broadcaster: Broadcaster, log: RecordingLog
) -> None:
    async def work(number: int) -> None:
        async with broadcaster.job("user-42", id=str(number)) as job:
            async for _ in job.track(range(STEPS)):
                await asyncio.sleep(0)

    started = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(1_000):
            tasks.create_task(work(number))
    seconds = time.monotonic() - started
    by_job: dict[str, list[Event]] = {}
    for event in log.events:
        by_job.setdefault(event.data["job"], []).append(event)
    assert len(by_job) == 1_000
    for events in by_job.values():
        states = [event.data["state"] for event in events]
        assert states == ["running"] * (len(states) - 1) + ["completed"]
        assert (events[-2].data["progress"], events[-2].data["eta"]) == (1, 0)
        progress = [event for event in events if event.event == "job.progress"]
        assert len(progress) <= 2 + 4 * seconds
