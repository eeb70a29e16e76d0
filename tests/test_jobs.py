"""A job's life: its states arrive in order, its end always, and nothing of it fails the work."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from realtime_bridge import (
    BackendUnavailableError,
    BlockingBroadcaster,
    Broadcaster,
    Event,
    InvalidEventError,
    Receipt,
)
from realtime_bridge.jobs import AsyncJob
from realtime_bridge_backends.memory import MemoryBackend


class Noting(MemoryBackend):
    """A log that notes what it is told, and fails as often as it shall."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.events: list[Event] = []
        self._failures = failures
        self._more = asyncio.Condition()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self._failures:
            self._failures -= 1
            raise BackendUnavailableError("away")
        self.events += events
        async with self._more:
            self._more.notify_all()
        return await super().append(events)

    async def has(self, name: str, count: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: self.names.count(name) >= count)

    @property
    def names(self) -> list[str]:
        return [event.event for event in self.events]


@pytest.fixture
def log() -> Noting:
    return Noting()


@pytest.fixture
async def broadcaster(log: Noting) -> AsyncIterator[Broadcaster]:
    async with Broadcaster(log=log) as broadcaster:
        yield broadcaster


def a_job(broadcaster: Broadcaster) -> AsyncJob:
    return broadcaster.job("user-42", id="a1", title="Transcribe call.mp3")


async def test_a_job_that_ends_well_is_started_and_completed(
    broadcaster: Broadcaster, log: Noting
) -> None:
    async with a_job(broadcaster):
        pass
    assert log.names == ["job.started", "job.completed"]
    assert {event.key for event in log.events} == {"job-a1"}
    end = log.events[-1].data
    assert (end["state"], end["progress"], end["title"]) == ("completed", 1, "Transcribe call.mp3")
    assert end["version"] > log.events[0].data["version"]


async def test_a_job_that_raises_failed_and_says_why(broadcaster: Broadcaster, log: Noting) -> None:
    with pytest.raises(ValueError, match="no sound"):
        async with a_job(broadcaster):
            raise ValueError("no sound")
    assert log.names[-1] == "job.failed"
    assert log.events[-1].data["error"] == "no sound"


@pytest.mark.parametrize("end", [KeyboardInterrupt, asyncio.CancelledError])
def test_a_job_that_is_interrupted_is_cancelled(log: Noting, end: type[BaseException]) -> None:
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster:
        with pytest.raises(end), broadcaster.job("user-42"):
            raise end
        assert log.names[-1] == "job.cancelled"


async def test_of_much_progress_little_is_published_and_the_last_of_it_always(
    broadcaster: Broadcaster, log: Noting
) -> None:
    async with a_job(broadcaster) as job:
        for count in range(1_000):
            job.progress(count / 1_000, f"{count}", stage="align")
    assert log.names == ["job.started", "job.progress", "job.completed"]
    last = log.events[1].data
    assert (last["progress"], last["message"], last["stage"]) == (0.999, "999", "align")


async def test_the_trailing_progress_is_published_while_the_job_goes_on(
    broadcaster: Broadcaster, log: Noting
) -> None:
    async with asyncio.timeout(10), a_job(broadcaster) as job:
        job.progress(0.1)
        await log.has("job.progress", 1)
        job.progress(0.2)
        job.progress(0.3)
        await log.has("job.progress", 2)
    assert [event.data["progress"] for event in log.events[1:3]] == [0.1, 0.3]


async def test_tracked_items_are_the_progress_and_tell_the_time_left(
    broadcaster: Broadcaster, log: Noting
) -> None:
    async with a_job(broadcaster) as job:
        assert [row async for row in job.track("abcd")] == ["a", "b", "c", "d"]
    assert log.events[-2].data["progress"] == 1
    assert log.events[-2].data["eta"] == 0


def test_tracked_items_in_code_that_is_not_async(log: Noting) -> None:
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster:
        with broadcaster.job("user-42") as job:
            assert list(job.track(iter("abcd"), total=8)) == ["a", "b", "c", "d"]
        assert log.events[-2].data["progress"] == 0.5


async def test_a_broadcaster_that_fails_does_not_fail_the_job_and_catches_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Noting(failures=2)
    async with Broadcaster(log=log) as broadcaster, a_job(broadcaster):
        pass
    assert log.names == ["job.started", "job.completed"]
    assert "waits: away" in caplog.text


async def test_a_job_on_no_valid_channel_does_not_begin(broadcaster: Broadcaster) -> None:
    with pytest.raises(InvalidEventError):
        broadcaster.job("no channel")
