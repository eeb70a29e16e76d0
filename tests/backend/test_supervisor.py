"""Supervisor: whatever ends background work is logged, and the work runs again."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from realtime_bridge.backend.supervisor import Supervisor, SupervisorTiming

TIMEOUT = 10.0
TIMING = SupervisorTiming(restart=0.002, longest=0.01, settled=0.02)


class OddError(BaseException):
    """Exception that `except Exception` does not catch."""


class Work:
    """Work that fails in the way of the test, until it shall work."""

    def __init__(self, end: BaseException | None) -> None:
        self.starts = 0
        self.fails = True
        self._end = end
        self.cancelled = False

    async def run(self) -> None:
        self.starts += 1
        if self.fails:
            if self._end:
                raise self._end
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    async with Supervisor(timing=TIMING) as supervisor:
        yield supervisor


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 -- no event reports it
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "end",
    [
        RuntimeError("unable to perform operation on <TCPTransport closed=True>"),
        ValueError("not JSON"),
        KeyError("id"),
        OddError("odd"),
        asyncio.CancelledError(),
        None,
    ],
    ids=lambda end: type(end).__name__,
)
async def test_work_that_ends_is_logged_once_and_runs_again(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture, end: BaseException | None
) -> None:
    work = Work(end)
    supervisor.run("feed", work.run)
    await until(lambda: work.starts > 3)
    assert supervisor.failing == ["feed"]
    assert len(caplog.records) == 1
    assert "background work ended, restarting work=feed" in caplog.text
    work.fails = False
    await until(lambda: not supervisor.failing)
    await until(lambda: len(caplog.records) == 2)
    assert "background work runs again work=feed failures=" in caplog.messages[1]


async def test_cancelled_task_runs_again(supervisor: Supervisor) -> None:
    work = Work(None)
    work.fails = False
    supervisor.run("feed", work.run)
    await until(lambda: work.starts == 1)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "feed")
    task.cancel()
    await until(lambda: work.starts == 2)
    assert work.cancelled


async def test_work_that_confirms_fails_until_then(supervisor: Supervisor) -> None:
    work = Work(OSError("the network is down"))
    supervisor.run("feed", work.run, confirms=True)
    await until(lambda: work.starts > 1)
    work.fails = False
    starts = work.starts
    await until(lambda: work.starts > starts)
    assert supervisor.failing == ["feed"]
    supervisor.confirm("feed")
    assert supervisor.failing == []


async def test_exception_of_spawned_work_is_logged(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ValueError("not JSON")

    supervisor.spawn("report", fail())
    await until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.getMessage() == "background work failed work=report"
    assert record.levelno == logging.ERROR
    assert record.exc_info


async def test_cancelled_spawned_work_is_not_logged(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    task = supervisor.spawn("report", asyncio.Event().wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert caplog.records == []


async def test_close_ends_all_work_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    work = Work(None)
    work.fails = False
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("spawned")

    async with Supervisor(timing=TIMING) as supervisor:
        supervisor.run("feed", work.run)
        supervisor.spawn("report", wait())
        await until(lambda: work.starts)
    assert (work.cancelled, ended) == (True, ["spawned"])
    assert asyncio.all_tasks() == before


async def test_work_that_loses_a_cancellation_is_cancelled_again() -> None:
    supervisor = Supervisor(timing=SupervisorTiming(cancel_again=0.01))
    started, cancellations = asyncio.Event(), 0

    async def lose_one() -> None:
        nonlocal cancellations
        while cancellations < 2:
            try:
                started.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1

    task = supervisor.spawn("stubborn work", lose_one())
    await started.wait()
    async with asyncio.timeout(TIMEOUT):
        await supervisor.close()

    assert task.done()


async def test_work_spawned_by_ending_work_is_ended_too() -> None:
    before = asyncio.all_tasks()

    def wait_and_spawn() -> Coroutine[Any, Any, None]:
        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                owner.spawn("late", asyncio.Event().wait())

        return work()

    async with Supervisor(timing=TIMING) as owner:
        owner.spawn("early", wait_and_spawn())
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
