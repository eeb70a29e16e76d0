"""Reports of a job: what waits for the time of the next progress, and what does not."""

import asyncio

import pytest

from realtime_bridge import BlockingBroadcaster, Broadcaster
from realtime_bridge.jobs.pause import Pause
from realtime_bridge.jobs.reporter import JobReporter
from realtime_bridge.jobs.state import JobState
from tests.jobs.test_job import RecordingLog

TIMEOUT = 30.0


class Unhurried(JobState):
    """State whose progress is due in an hour."""

    def seconds_until_due(self, now: float) -> float | None:
        seconds = super().seconds_until_due(now)
        return seconds if seconds is None or self.newest_pending() else 3_600.0


async def turns() -> None:
    """Let a report reach its pause."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_end_does_not_wait_for_the_time_of_progress() -> None:
    log = RecordingLog()
    async with Broadcaster(log=log) as broadcaster, asyncio.timeout(TIMEOUT):
        state = Unhurried("1", title="Import", attempt="a")
        reporter = JobReporter("user-42", "1", state, broadcaster.reports)
        reporter.change("started")
        await log.has("job.started", 1)
        reporter.set_progress(0.5)
        await turns()
        reporter.change("completed")
        await log.has("job.completed", 1)
    assert log.names == ["job.started", "job.progress", "job.completed"]


async def test_end_in_a_thread_does_not_wait_for_the_time_of_progress() -> None:
    log = RecordingLog()
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster:
        state = Unhurried("1", title="Import", attempt="a")
        reporter = JobReporter("user-42", "1", state, broadcaster.reports)
        reporter.change("started")
        await asyncio.to_thread(reporter.wait)
        reporter.set_progress(0.5)
        await turns()
        reporter.change("completed")
        async with asyncio.timeout(TIMEOUT):
            while not await asyncio.to_thread(reporter.wait):
                pass
    assert log.names == ["job.started", "job.progress", "job.completed"]


async def test_pause_that_was_ended_before_does_not_begin() -> None:
    pause = Pause()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.to_thread(pause.end)
        await pause.wait(3_600)
        waiting = asyncio.create_task(pause.wait(3_600))
        await turns()
        assert not waiting.done()
        pause.end()
        await waiting


def test_pause_of_a_closed_loop_is_ended_without_an_error() -> None:
    async def create() -> Pause:
        return Pause()

    asyncio.run(create()).end()


@pytest.mark.parametrize("seconds", [0, 0.001])
async def test_pause_ends_by_itself(seconds: float) -> None:
    await Pause().wait(seconds)
