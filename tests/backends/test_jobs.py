"""Jobs over Redis and PostgreSQL: requests, other runs, and workers that freeze."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from realtime_bridge import Broadcaster, Event, JobCancelledError, JobSupersededError
from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.jobs.snapshot import JobSnapshot, fold_job_group
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge.testing.contracts.samples import new_channel
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

TIMEOUT = 30.0
TIMING = PublishTiming(renew_seconds=0.1, urgent_renew_seconds=0.05)
WORKER = """
import sys, time
from realtime_bridge import BlockingBroadcaster, Broadcaster
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge_backends.redis import RedisBackend

url, channel = sys.argv[1:]
timing = PublishTiming(renew_seconds=0.5)
with BlockingBroadcaster(lambda: Broadcaster(log=RedisBackend(url), timing=timing)) as broadcaster:
    with broadcaster.job(channel, id="a1", lease=5) as job:
        job.progress(0.5)
        sys.stdin.read()
"""


@pytest.fixture(params=["redis", "postgres"])
async def log(
    request: pytest.FixtureRequest, redis_server: RedisServer, postgres_server: PostgresServer
) -> AsyncIterator[FoldingLog]:
    if request.param == "redis":
        async with RedisBackend(redis_server.url) as backend:
            yield backend
    else:
        async with PostgresBackend(postgres_server.database()) as backend:
            yield backend


@pytest.fixture
async def broadcaster(log: FoldingLog) -> AsyncIterator[Broadcaster]:
    broadcaster = Broadcaster(log=log, timing=TIMING)
    async with broadcaster.reports:  # the log is entered already
        yield broadcaster
    await broadcaster.owned_keys.close()


@pytest.fixture
def channel() -> str:
    return new_channel()


async def until(
    log: FoldingLog, channel: str, holds: Callable[[JobSnapshot], object]
) -> JobSnapshot:
    """Wait for a state of the job."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            found = fold_job_group((await log.latest(channel, key="job-a1")).events)
            if found and holds(found):
                return found
            await asyncio.sleep(0.02)


async def events_of(log: FoldingLog, channel: str) -> list[Event]:
    top = (await log.positions([channel]))[channel]
    page = await log.read(channel, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return list(page.events)


async def test_job_is_cancelled_asked_and_answered(
    log: FoldingLog, broadcaster: Broadcaster, channel: str
) -> None:
    answers: asyncio.Queue[object] = asyncio.Queue()

    async def work() -> None:
        async with broadcaster.job(channel, id="a1", cancellable=True) as job:
            answers.put_nowait(await job.ask("Go on?", id="q", timeout=TIMEOUT))
            await asyncio.sleep(TIMEOUT)

    task = asyncio.create_task(work())
    await until(log, channel, lambda found: found.state == "asking")
    given = [{"rows": 3}, "no"]
    calls = (broadcaster.answer_job(channel, "a1", "q", value) for value in given)
    replies = await asyncio.gather(*calls)
    assert sorted(reply.code for reply in replies) == ["accepted", "answered"]
    (first,) = (value for value, reply in zip(given, replies, strict=True) if reply.accepted)
    assert await asyncio.wait_for(answers.get(), TIMEOUT) == first
    cancels = (broadcaster.cancel_job(channel, "a1", by=by) for by in ("42", "43"))
    assert {reply.code for reply in await asyncio.gather(*cancels)} == {"cancelling"}
    with pytest.raises(JobCancelledError):
        await task
    found = await until(log, channel, lambda found: found.has_ended)
    assert (found.state, found.answers) == ("cancelled", {})
    names = [event.event for event in await events_of(log, channel)]
    assert (names.count("job.cancelling"), names.count("job.answered")) == (1, 1)


async def test_other_run_takes_over_and_a_late_queued_is_dropped(
    log: FoldingLog, broadcaster: Broadcaster, channel: str
) -> None:
    async def work() -> None:
        async with broadcaster.job(channel, id="a1", cancellable=True):
            await until(log, channel, lambda found: found.state == "running")
            async with broadcaster.job(channel, id="a1", attempt="second"):
                await until(log, channel, lambda found: found.attempt == "second")
            await asyncio.sleep(TIMEOUT)

    with pytest.raises(JobSupersededError):
        await work()
    late = Event(channel=channel, event="job.queued", data={"job": "a1"}, key="job-a1")
    (receipt,) = await broadcaster.publish_many([late])
    assert receipt.refused == "owned"
    found = await until(log, channel, lambda found: found.has_ended)
    assert (found.state, found.attempt) == ("completed", "second")


@pytest.mark.timed
async def test_frozen_worker_is_lost_once_and_runs_again(
    redis_server: RedisServer, channel: str
) -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, redis_server.url, channel), stdin=subprocess.PIPE
    )
    try:
        async with RedisBackend(redis_server.url) as log:
            await until(log, channel, lambda found: found.data["progress"] == 0.5)
            os.kill(worker.pid, signal.SIGSTOP)
            await until(log, channel, lambda found: found.state == "lost")
            os.kill(worker.pid, signal.SIGCONT)
            await until(log, channel, lambda found: found.state == "running")
            await asyncio.wait_for(worker.communicate(b""), TIMEOUT)  # it ends its input
            names = [event.event for event in await events_of(log, channel)]
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    assert names.count("job.lost") == 1
    assert names[-1] == "job.completed"
