"""Jobs on a log in memory that people cancel and answer, and that other runs take over."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from celery.exceptions import Retry

from realtime_bridge import (
    AnswerTimeoutError,
    BlockingBroadcaster,
    Broadcaster,
    Event,
    InvalidEventError,
    JobCancelledError,
    JobSupersededError,
    RealtimeError,
)
from realtime_bridge.jobs.async_job import AsyncJob
from realtime_bridge.jobs.control import JobReply
from realtime_bridge.jobs.log_lines import MAX_BYTES
from realtime_bridge.jobs.snapshot import JobSnapshot, fold_job_group
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge_backends.memory import MemoryBackend

CHANNEL = "user-42"
TIMEOUT = 30.0
CANCELLING = JobReply(accepted=True, code="cancelling", state="cancelling")


TIMING = PublishTiming(renew_seconds=0.02, urgent_renew_seconds=0.01)


class ClockedLog(MemoryBackend):
    """Log whose clock a test sets forward, and that may lose everything."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.lose()

    def lose(self) -> None:
        super().__init__(clock=lambda: time.monotonic() + self.ahead)


@pytest.fixture
def log() -> ClockedLog:
    return ClockedLog()


@pytest.fixture
async def broadcaster(log: ClockedLog) -> AsyncIterator[Broadcaster]:
    async with Broadcaster(log=log, timing=TIMING) as broadcaster:
        yield broadcaster


@pytest.fixture
def blocking(log: ClockedLog) -> Iterator[BlockingBroadcaster]:
    with BlockingBroadcaster(lambda: Broadcaster(log=log, timing=TIMING)) as broadcaster:
        yield broadcaster


async def begin(log: MemoryBackend, job: AsyncJob) -> None:
    """Start a job without a block, as a worker that is killed leaves it."""
    await asyncio.create_task(job.__aenter__())  # a task of its own: a cancellation finds it done
    await until(log, job.id, lambda found: found.state == "running")


async def snapshot_of(log: MemoryBackend, job: str) -> JobSnapshot | None:
    return fold_job_group((await log.latest(CHANNEL, key=f"job-{job}")).events)


async def until(log: MemoryBackend, job: str, holds: Callable[[JobSnapshot], object]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not (found := await snapshot_of(log, job)) or not holds(found):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def state_of(log: MemoryBackend, job: str) -> str:
    snapshot = await snapshot_of(log, job)
    assert snapshot
    return snapshot.state


async def events_of(log: MemoryBackend) -> list[Event]:
    top = (await log.positions([CHANNEL]))[CHANNEL]
    page = await log.read(CHANNEL, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return list(page.events)


# Cancel


async def test_cancelled_block_raises_and_reports_who_cancelled(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    job = broadcaster.job(CHANNEL, id="a1", cancellable=True)

    async def work() -> None:
        async with job:
            await until(log, "a1", lambda found: found.state == "running")
            reply = await broadcaster.cancel_job(CHANNEL, "a1", by="42", reason="too slow")
            assert reply == CANCELLING
            await asyncio.sleep(TIMEOUT)  # the job reports nothing: a renewal brings the request

    with pytest.raises(JobCancelledError, match="Job a1 was cancelled by 42"):
        await work()
    assert job.cancelling
    found = await snapshot_of(log, "a1")
    assert found
    assert (found.state, found.by) == ("cancelled", "42")
    task = asyncio.current_task()
    assert task
    assert not task.cancelling()


async def test_cancellation_by_others_stays_one(broadcaster: Broadcaster, log: ClockedLog) -> None:
    async def work() -> None:
        async with broadcaster.job(CHANNEL, id="a1", cancellable=True):
            try:
                await asyncio.sleep(TIMEOUT)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task
                task.cancel()  # such as the end of the program, at the same time
                await asyncio.sleep(TIMEOUT)

    task = asyncio.create_task(work())
    await until(log, "a1", lambda found: found.state == "running")
    await broadcaster.cancel_job(CHANNEL, "a1")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_is_done_completes_in_spite_of_a_cancel(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    async with broadcaster.job(CHANNEL, id="a1", cancellable=True):
        await until(log, "a1", lambda found: found.state == "running")
        await broadcaster.cancel_job(CHANNEL, "a1")
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(TIMEOUT)
    assert await state_of(log, "a1") == "completed"


async def test_job_that_is_not_cancellable_never_raises(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    async with broadcaster.job(CHANNEL, id="a1") as job:
        await until(log, "a1", lambda found: found.state == "running")
        reply = await broadcaster.cancel_job(CHANNEL, "a1")
        assert reply == JobReply(accepted=False, code="not_cancellable", state="running")
        async with broadcaster.job(CHANNEL, id="a1") as second:
            await until(log, "a1", lambda found: found.attempt == second.attempt)
            job.progress(0.5)
            job.check()
    job.check()  # the end of the block has waited for the refusals
    assert await state_of(log, "a1") == "completed"


async def test_cancel_of_a_queued_job_reaches_its_start(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    queued = {"job": "a1", "title": "Import", "state": "queued", "cancellable": True}
    await broadcaster.publish(CHANNEL, "job.queued", queued, key="job-a1")
    assert await broadcaster.cancel_job(CHANNEL, "a1") == CANCELLING
    with pytest.raises(JobCancelledError):
        async with broadcaster.job(CHANNEL, id="a1", cancellable=True):
            await asyncio.sleep(TIMEOUT)
    assert await state_of(log, "a1") == "cancelled"


async def test_cancel_after_the_end_gets_the_state(broadcaster: Broadcaster) -> None:
    async with broadcaster.job(CHANNEL, id="a1", cancellable=True):
        pass
    reply = await broadcaster.cancel_job(CHANNEL, "a1")
    assert reply == JobReply(accepted=False, code="ended", state="completed")
    unknown = await broadcaster.cancel_job(CHANNEL, "a2")
    assert unknown == JobReply(accepted=False, code="unknown_job", state=None)


async def test_cancel_of_a_parent_reaches_its_unfinished_children(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    async def work(job: AsyncJob) -> None:
        async with job:
            await asyncio.sleep(TIMEOUT)

    parent = broadcaster.job(CHANNEL, id="parent", cancellable=True)
    jobs = [parent, parent.child(id="one"), parent.child(id="two")]
    async with broadcaster.job(CHANNEL, id="done", parent="parent"):
        pass
    tasks = [asyncio.create_task(work(job)) for job in jobs]
    for job in jobs:
        await until(log, job.id, lambda found: found.state == "running")
    assert await broadcaster.cancel_job(CHANNEL, "parent") == CANCELLING
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(error) for error in errors} == {JobCancelledError}
    assert await state_of(log, "done") == "completed"


async def test_two_cancels_at_once_are_one_event(broadcaster: Broadcaster, log: ClockedLog) -> None:
    job = broadcaster.job(CHANNEL, id="a1", cancellable=True)
    await begin(log, job)
    cancel = broadcaster.cancel_job
    replies = await asyncio.gather(cancel(CHANNEL, "a1", by="1"), cancel(CHANNEL, "a1", by="2"))
    assert list(replies) == [CANCELLING] * 2
    assert [event.event for event in await events_of(log)].count("job.cancelling") == 1


def test_sync_code_raises_at_its_next_progress(blocking: BlockingBroadcaster) -> None:
    def work(how: Callable[[Any], object]) -> None:
        with blocking.job(CHANNEL, id="a1", cancellable=True) as job:
            while blocking.cancel_job(CHANNEL, "a1") != CANCELLING:
                threading.Event().wait(0.01)  # its start is not published yet
            for _ in range(int(TIMEOUT / 0.01)):
                how(job)
                threading.Event().wait(0.01)

    for how in (lambda job: job.progress(), lambda job: job.check(), lambda job: [*job.track([1])]):
        with pytest.raises(JobCancelledError):
            work(how)


# Other runs


async def test_former_run_is_refused_and_raises_if_cancellable(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    other = broadcaster.job(CHANNEL, id="a1")

    async def work() -> None:
        async with broadcaster.job(CHANNEL, id="a1", cancellable=True):
            await until(log, "a1", lambda found: found.state == "running")
            await begin(log, other)
            await asyncio.sleep(TIMEOUT)

    with pytest.raises(JobSupersededError):
        await work()
    found = await snapshot_of(log, "a1")
    assert found
    assert (found.state, found.attempt) == ("running", other.attempt)


async def test_silent_job_is_lost_once_and_runs_again(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    async with broadcaster.job(CHANNEL, id="a1", lease=5) as job:
        job.progress(0.5)
        await until(log, "a1", lambda found: found.data["progress"] == 0.5)
        log.ahead += 6  # as after SIGSTOP: the next operation finds the lease over
        assert await state_of(log, "a1") == "lost"
        await until(log, "a1", lambda found: found.state == "running")
    names = [event.event for event in await events_of(log)]
    assert names.count("job.lost") == 1
    assert names[-1] == "job.completed"


async def test_short_lease_is_renewed_each_second(log: ClockedLog) -> None:
    timing = PublishTiming(renew_seconds=1_000, urgent_renew_seconds=0.01)
    async with (
        Broadcaster(log=log, timing=timing) as broadcaster,
        broadcaster.job(CHANNEL, id="a1", lease=5),
    ):
        await until(log, "a1", lambda found: found.state == "running")
        log.ahead += 6
        assert await state_of(log, "a1") == "lost"
        await until(log, "a1", lambda found: found.state == "running")


async def test_cancel_ends_a_lost_job(broadcaster: Broadcaster, log: ClockedLog) -> None:
    async with Broadcaster(log=log, timing=TIMING) as worker:
        job = worker.job(CHANNEL, id="a1", cancellable=True)
        await begin(log, job)
        await worker.owned_keys.close()  # no renewal: the worker is frozen
        log.ahead += 31
        reply = await broadcaster.cancel_job(CHANNEL, "a1", by="42")
        assert reply == JobReply(accepted=True, code="cancelled", state="cancelled")
        job.progress(0.5)
        async with asyncio.timeout(TIMEOUT):
            while not job.cancelling:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    assert await state_of(log, "a1") == "cancelled"


async def test_log_that_lost_all_gets_the_job_again(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    async with broadcaster.job(CHANNEL, id="a1", title="Import") as job:
        job.progress(0.4)
        await until(log, "a1", lambda found: found.data["progress"] == 0.4)
        log.lose()
        await until(log, "a1", lambda found: found.data["progress"] == 0.4)
    assert [event.event for event in await events_of(log)] == ["job.progress", "job.completed"]


async def test_end_that_is_all_the_log_has_names_its_run(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    async with broadcaster.job(CHANNEL, id="a1"):
        await until(log, "a1", lambda found: found.state == "running")
        log.lose()
    (end,) = await events_of(log)
    found = await snapshot_of(log, "a1")
    assert found
    assert end.attempt
    assert (found.state, found.attempt) == ("completed", end.attempt)


def test_forked_child_reports_for_the_same_run() -> None:
    log = ClockedLog()

    def newest() -> Event:
        return asyncio.run(log.latest(CHANNEL, key="job-a1")).events[-1]

    read_end, write_end = os.pipe()
    with (
        BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster,
        broadcaster.job(CHANNEL, id="a1") as job,
    ):
        asyncio.run(until(log, "a1", lambda found: found.state == "running"))
        child = os.fork()
        if not child:
            is_done = job.report("failed")
            os.write(write_end, f"{is_done} {newest().attempt} {newest().id}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        is_reported, attempt, identifier = os.read(read_end, 200).decode().split()
        assert (is_reported, attempt) == ("True", job.attempt)
        nonce = identifier.partition("-")[0]
        assert not newest().id.startswith(nonce)


# Questions


async def ask_and_answer(broadcaster: Broadcaster, log: MemoryBackend, value: Any) -> JobReply:
    await until(log, "a1", lambda found: found.state == "asking")
    return await broadcaster.answer_job(CHANNEL, "a1", "q", value, by="42")


async def test_answer_is_returned_and_the_job_runs_on(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    async with broadcaster.job(CHANNEL, id="a1") as job, asyncio.TaskGroup() as tasks:
        reply = tasks.create_task(ask_and_answer(broadcaster, log, "yes"))
        assert await job.ask("Overwrite?", id="q", choices=["yes", "no"]) == "yes"
        assert await state_of(log, "a1") == "running"
    assert reply.result() == JobReply(accepted=True, code="accepted", state="running")


def answer_once_asked(blocking: BlockingBroadcaster, value: Any) -> None:
    for _ in range(int(TIMEOUT / 0.01)):
        if blocking.answer_job(CHANNEL, "a1", "q", value).accepted:
            return
        threading.Event().wait(0.01)


def test_blocking_job_waits_for_an_answer(blocking: BlockingBroadcaster) -> None:
    person = threading.Thread(target=answer_once_asked, args=(blocking, {"rows": 3}))
    with blocking.job(CHANNEL, id="a1") as job:
        person.start()
        assert job.ask("How many?", id="q") == {"rows": 3}
    person.join()


async def test_blocking_job_asks_in_async_code_without_stopping_it(
    blocking: BlockingBroadcaster,
) -> None:
    job = blocking.job(CHANNEL, id="a1")
    await job.report_async("started")
    with pytest.raises(RealtimeError, match=r"await job\.ask_async"):
        job.ask("Overwrite?", id="q")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.to_thread(answer_once_asked, blocking, "yes"))
        assert await job.ask_async("Overwrite?", id="q") == "yes"
    await job.report_async("completed")


async def test_retry_that_asks_again_gets_the_answer(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    with suppress(Retry):
        async with broadcaster.job(CHANNEL, id="a1") as first:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ask_and_answer(broadcaster, log, True))
                assert await first.ask("Go on?", id="q", timeout=TIMEOUT) is True
            raise Retry(when=60)
    assert await state_of(log, "a1") == "retrying"
    async with broadcaster.job(CHANNEL, id="a1") as second:
        assert await second.ask("Go on?", id="q", timeout=TIMEOUT) is True


@pytest.mark.parametrize("values", [("yes", "no"), (1, True)])
async def test_first_of_two_answers_wins(
    broadcaster: Broadcaster, log: ClockedLog, values: tuple[object, object]
) -> None:
    job = broadcaster.job(CHANNEL, id="a1")
    await begin(log, job)
    asking = asyncio.create_task(job.ask("Overwrite?", id="q"))
    await until(log, "a1", lambda found: found.state == "asking")
    answers = (broadcaster.answer_job(CHANNEL, "a1", "q", value) for value in values)
    replies = await asyncio.gather(*answers)
    assert sorted((reply.accepted, reply.code) for reply in replies) == [
        (False, "answered"),
        (True, "accepted"),
    ]
    winner = values[0 if replies[0].accepted else 1]
    assert repr(await asking) == repr(winner)


async def test_question_without_an_answer_times_out(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    async with broadcaster.job(CHANNEL, id="a1") as job:
        with pytest.raises(AnswerTimeoutError, match=r"got no answer within 0\.01 s"):
            await job.ask("Overwrite?", id="q", timeout=0.01)
        reply = await broadcaster.answer_job(CHANNEL, "a1", "q", "yes")
        assert reply == JobReply(accepted=False, code="no_question", state="running")
    assert await state_of(log, "a1") == "completed"


async def test_cancel_ends_the_wait_for_an_answer(
    broadcaster: Broadcaster, log: ClockedLog
) -> None:
    job = broadcaster.job(CHANNEL, id="a1", cancellable=True)
    await begin(log, job)
    asking = asyncio.create_task(job.ask("Overwrite?"))
    await until(log, "a1", lambda found: found.state == "asking")
    await broadcaster.cancel_job(CHANNEL, "a1")
    with pytest.raises(JobCancelledError):
        await asking


class RolledBackLog(MemoryBackend):
    """Log that has lost its first question after it acknowledged it."""

    has_lost = False

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self.has_lost or events[0].event != "job.asking":
            return await super().append(events)
        self.has_lost = True
        top = (await self.positions([CHANNEL]))[CHANNEL]
        return [Receipt(id=events[0].id, position=Position(top.epoch, top.offset + 1))]


async def test_question_that_a_rollback_lost_is_asked_again() -> None:
    log = RolledBackLog()
    async with (
        asyncio.timeout(TIMEOUT),
        Broadcaster(log=log, timing=TIMING) as broadcaster,
        broadcaster.job(CHANNEL, id="a1") as job,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(ask_and_answer(broadcaster, log, "yes"))
        assert await job.ask("Overwrite?", id="q") == "yes"
    assert log.has_lost
    assert await state_of(log, "a1") == "completed"


async def test_answer_over_its_limit_is_refused(broadcaster: Broadcaster) -> None:
    with pytest.raises(InvalidEventError, match="over the limit of 8,192"):
        await broadcaster.answer_job(CHANNEL, "a1", "q", "x" * 9_000)


# Results, log lines, streams


async def test_result_is_published_with_the_end(
    broadcaster: Broadcaster, log: ClockedLog, caplog: pytest.LogCaptureFixture
) -> None:
    async with broadcaster.job(CHANNEL, id="a1") as job:
        job.set_result({"rows": 3})
        job.set_result("x" * 40_000)
        job.set_result(object())
    found = await snapshot_of(log, "a1")
    assert found
    assert found.data["result"] == {"rows": 3}
    assert caplog.text.count("job has no result job=a1") == 2


async def test_log_lines_are_a_stream_beside_the_job(broadcaster: Broadcaster) -> None:
    async with broadcaster.job(CHANNEL, id="a1") as job:
        job.log("first")
        job.log("second")
    async with asyncio.timeout(TIMEOUT):
        while True:
            stream = await broadcaster.read_stream(CHANNEL, "log-a1")
            if stream and stream.state == "completed":
                break
            await asyncio.sleep(0.01)
    assert (stream.text, stream.meta) == ("first\nsecond\n", {"dropped": 0})
    assert stream.attempt == job.attempt


async def test_full_log_begins_again_with_its_last_lines(broadcaster: Broadcaster) -> None:
    line = "x" * 8_000
    async with broadcaster.job(CHANNEL, id="a1") as job:
        for number in range(MAX_BYTES // 8_000 + 10):
            job.log(f"{number} {line}")
            await asyncio.sleep(0)
        last = number
        async with asyncio.timeout(TIMEOUT):
            while True:
                stream = await broadcaster.read_stream(CHANNEL, "log-a1")
                if stream and stream.meta["dropped"] and f"{last} x" in stream.text:
                    break
                await asyncio.sleep(0.02)
    lines = stream.text.splitlines()
    assert stream.meta["dropped"] + len(lines) == last + 1


async def test_stream_of_a_job_has_its_attempt_and_ends_with_it(broadcaster: Broadcaster) -> None:
    async with broadcaster.job(CHANNEL, id="a1") as job:
        stream = job.stream(id="m1")
        await stream.__aenter__()
        stream.append("text")
        job.stream(id="never entered")
    found = await broadcaster.read_stream(CHANNEL, "m1")
    assert found
    assert (found.state, found.text, found.attempt) == ("completed", "text", job.attempt)


async def test_bad_attempt_and_lease_are_refused(broadcaster: Broadcaster) -> None:
    with pytest.raises(InvalidEventError, match="Bad attempt"):
        broadcaster.job(CHANNEL, attempt="no attempt")
    with pytest.raises(InvalidEventError, match="Bad lease"):
        broadcaster.job(CHANNEL, lease=1)
