"""Job states of APScheduler's jobs, in threads and in an event loop."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from realtime_bridge_backends.redis import RedisBackend
from tests.integrations import work, workers
from tests.integrations.jobs import state_data, wait_for_state, wait_until_lost
from tests.services.redis import RedisServer

Call = Callable[..., None]


@pytest.fixture(scope="module", params=["background", "asyncio"])
def worker(
    server: RedisServer,
    variables: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Run a scheduler, and return its kind."""
    server.client().delete("calls", "apscheduler.jobs", "apscheduler.run_times")
    command = (sys.executable, "-m", "tests.integrations.apscheduler_app", request.param)
    output = tmp_path_factory.mktemp("apscheduler") / "scheduler.log"
    with workers.running(*command, variables=variables, output=output):
        yield request.param


@pytest.fixture
def app(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the application of a client process."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    from tests.integrations import apscheduler_app

    return apscheduler_app


@pytest.fixture
def call(app: Any, server: RedisServer) -> Iterator[Call]:
    """Return the function that adds a job."""
    with redis.Redis.from_url(server.url) as client:
        yield lambda name, user, **options: app.call(client, name, user, **options)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("works", ["queued", "started", "progress", "completed"]),
        ("returns", ["queued", "started", "completed"]),
        ("raises", ["queued", "started", "failed"]),
        ("exits", ["queued", "started", "failed"]),
    ],
)
async def test_every_state_of_a_job_is_reported(
    worker: str, call: Call, log: RedisBackend, function: str, expected: list[str]
) -> None:
    user = f"{worker}-{function}"
    call(function, user)
    assert await wait_for_state(log, f"user-{user}", expected[-1]) == expected


@pytest.mark.parametrize("worker", ["asyncio"], indirect=True)
async def test_async_job_has_a_current_job_and_a_result(
    worker: str, call: Call, log: RedisBackend
) -> None:
    call("reports_async", "async")
    await wait_for_state(log, "user-async", "completed")
    assert (await state_data(log, "user-async", "completed"))["result"] == "async"


async def test_periodic_job_starts_again_after_its_end(
    worker: str, call: Call, log: RedisBackend
) -> None:
    user = f"{worker}-periodic"
    call("returns", user, every=0.2)
    states = await wait_for_state(log, f"user-{user}", "completed", times=2)
    call("remove", user)
    assert states == ["queued", "started", "completed", "started", "completed"]


async def test_job_that_missed_its_time_has_failed(
    worker: str, call: Call, log: RedisBackend
) -> None:
    user = f"{worker}-missed"
    call("works", user, delay=-60)
    assert await wait_for_state(log, f"user-{user}", "failed") == ["queued", "failed"]
    assert "missed its time" in (await state_data(log, f"user-{user}", "failed"))["error"]


async def test_job_removed_before_its_start_is_cancelled(
    worker: str, call: Call, log: RedisBackend
) -> None:
    user = f"{worker}-removed"
    call("works", user, delay=3_600)
    call("remove", user)
    assert await wait_for_state(log, f"user-{user}", "cancelled") == ["queued", "cancelled"]


async def test_job_cancelled_before_its_start_does_not_run(
    worker: str, app: Any, call: Call, log: RedisBackend
) -> None:
    user = f"{worker}-before"
    call("works", user, delay=3_600)
    await wait_for_state(log, f"user-{user}", "queued")
    assert (await work.cancel(app.broadcaster, user, user)).accepted
    call("start", user)
    states = await wait_for_state(log, f"user-{user}", "cancelled")
    assert states == ["queued", "cancelling", "started", "cancelled"]


async def test_running_job_is_cancelled(
    worker: str, app: Any, call: Call, log: RedisBackend
) -> None:
    functions = ["works_on", "waits_async"] if worker == "asyncio" else ["works_on"]
    for function in functions:
        user = f"{worker}-cancelled-{function}"
        call(function, user)
        await wait_for_state(log, f"user-{user}", "started")
        assert (await work.cancel(app.broadcaster, user, user)).accepted
        await wait_for_state(log, f"user-{user}", "cancelled")
        assert (await state_data(log, f"user-{user}", "cancelled"))["by"] == "ann"


@pytest.mark.parametrize("worker", ["asyncio"], indirect=True)
async def test_job_of_a_killed_scheduler_is_lost(
    worker: str, call: Call, log: RedisBackend, server: RedisServer
) -> None:
    # The last test: the scheduler is gone after it.
    call("is_killed", "apscheduler-lost")
    states = await wait_until_lost(server, log, "apscheduler-lost")
    assert states == ["queued", "started", "lost"]
