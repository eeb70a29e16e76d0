"""Jobs in tasks: the exceptions by which a task controls its queue are no failures."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from celery.exceptions import Ignore, Reject, Retry
from huey.exceptions import CancelExecution, RetryTask

from realtime_bridge import Broadcaster
from realtime_bridge.jobs.queue_errors import end_of_task
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge_backends.memory import MemoryBackend

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (Retry(exc=ValueError("not yet")), "retrying", "not yet"),
        (Ignore("nothing to do"), "cancelled", "nothing to do"),
        (Ignore(), "cancelled", "None"),
        (Reject("no", requeue=False), "failed", "no"),
        (Reject("later", requeue=True), "retrying", "later"),
        (Reject(), "failed", "rejected"),
        (RetryTask("again"), "retrying", "again"),
        (CancelExecution(), "cancelled", "None"),
        (ValueError("bad"), "failed", "bad"),
    ],
)
def test_exception_of_a_queue_has_its_state(error: Exception, state: str, reason: str) -> None:
    end = end_of_task(error)
    assert (end.state, str(end.error), end.retry_at) == (state, reason, None)


@pytest.mark.parametrize(
    "error", [Retry(exc=ValueError(), when=NOON), RetryTask(eta=NOON)], ids=["celery", "huey"]
)
def test_time_of_a_retry_is_reported(error: Exception) -> None:
    end = end_of_task(error)
    assert (end.state, end.retry_at) == ("retrying", NOON.timestamp() * 1_000)


@pytest.mark.parametrize("error", [Retry(when=60), RetryTask(delay=60)], ids=["celery", "huey"])
def test_delay_of_a_retry_is_a_time(error: Exception) -> None:
    retry_at = end_of_task(error).retry_at
    assert retry_at
    assert 50 < retry_at / 1_000 - time.time() <= 60


async def events_of(log: MemoryBackend) -> list[tuple[str, Any]]:
    (top,) = (await log.positions(["job.7"])).values()
    page = await log.read("job.7", Position(top.epoch, 0))
    assert isinstance(page, Page)
    return [(event.event, event.data.get("error")) for event in page.events]


async def test_retry_at_once_is_reported_with_its_error() -> None:
    log = MemoryBackend()
    async with Broadcaster(log=log) as worker:
        with suppress(Retry):
            async with worker.job("job.7", id="a"):
                raise Retry(exc=ValueError("not yet"))
    assert await events_of(log) == [("job.started", None), ("job.retrying", "not yet")]


async def reported(log: MemoryBackend, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await events_of(log)) < count:  # noqa: ASYNC110 -- no event reports it
            await asyncio.sleep(0)


async def test_retry_is_not_reported_after_the_next_attempt_has_begun() -> None:
    log = MemoryBackend()
    async with Broadcaster(log=log) as worker, Broadcaster(log=log) as next_worker:
        next_attempt = next_worker.job("job.7", id="a")
        with suppress(Retry):
            async with worker.job("job.7", id="a"):
                await reported(log, 1)
                await next_attempt.__aenter__()
                await reported(log, 2)
                raise Retry(exc=ValueError("not yet"))
        await next_attempt.__aexit__(None, None, None)
    names = [name for name, _ in await events_of(log)]
    assert names == ["job.started", "job.started", "job.completed"]
