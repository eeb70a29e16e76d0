"""Job states of RQ jobs, reported by the work horse or its parent."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Retry
from rq.command import send_stop_job_command

from realtime_bridge.integrations.rq import stop_on_cancel
from realtime_bridge_backends.redis import RedisBackend
from tests.integrations import work, workers
from tests.integrations.jobs import current_states, state_data, wait_for_state, wait_until_lost
from tests.services.redis import RedisServer

RQ = str(Path(sys.executable).with_name("rq"))
WORK = "tests.integrations.work"

only_horses = pytest.mark.parametrize("worker", ["Worker"], indirect=True)
"""A SimpleWorker runs jobs in its own process: it cannot kill or stop one and continue."""


@pytest.fixture(scope="module", params=["Worker", "SimpleWorker"])
def worker(
    server: RedisServer,
    variables: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Run a worker, and return its class."""
    worker_class = f"tests.integrations.rq_app.{request.param}"
    command = (RQ, "worker", "--url", server.url, "--worker-class", worker_class, "--path", ".")
    output = tmp_path_factory.mktemp("rq") / "worker.log"
    with workers.running(*command, request.param, variables=variables, output=output):
        yield request.param


@pytest.fixture
def queue(
    worker: str, server: RedisServer, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Return the worker's queue for a client process."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    from tests.integrations import rq_app

    return rq_app.Queue(worker, connection=redis.Redis.from_url(server.url))


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("works", ["queued", "started", "progress", "completed"]),
        ("raises", ["queued", "started", "failed"]),
        ("returns_retry", ["queued", "started", "retrying", "started", "completed"]),
        ("exits", ["queued", "started", "failed"]),
        ("fails_oddly", ["queued", "started", "failed"]),
        ("fails_at_length", ["queued", "started", "failed"]),
    ],
)
async def test_every_state_of_a_job_is_reported(
    worker: str, queue: Any, log: RedisBackend, task: str, expected: list[str]
) -> None:
    user = f"{worker}-{task}"
    queue.enqueue(f"{WORK}.{task}", user=user)
    assert await wait_for_state(log, f"user-{user}", expected[-1]) == expected


async def test_retried_job_reports_the_error_and_completes(
    worker: str, queue: Any, log: RedisBackend
) -> None:
    user = f"{worker}-retried"
    queue.enqueue(f"{WORK}.is_retried", user=user, retry=Retry(max=1))
    states = await wait_for_state(log, f"user-{user}", "completed")
    assert states == ["queued", "started", "retrying", "started", "completed"]
    assert (await state_data(log, f"user-{user}", "retrying"))["error"] == "not yet"


@pytest.mark.parametrize("length", [200, 300])
async def test_job_with_a_long_id_is_one_job(
    worker: str, queue: Any, log: RedisBackend, length: int
) -> None:
    user = f"{worker}-{length}"
    queue.enqueue(f"{WORK}.works", user=user, job_id=f"{user}-".ljust(length, "x"))
    await wait_for_state(log, f"user-{user}", "completed")
    *others, latest = (await log.latest(f"user-{user}")).events
    assert latest.data["state"] == "completed"
    assert {event.key for event in others} <= {latest.key}


@only_horses
async def test_killed_job_has_failed(worker: str, queue: Any, log: RedisBackend) -> None:
    user = f"{worker}-killed"
    queue.enqueue(f"{WORK}.is_killed", user=user)
    assert await wait_for_state(log, f"user-{user}", "failed") == ["queued", "started", "failed"]
    assert "signal 9" in (await state_data(log, f"user-{user}", "failed"))["error"]


async def test_timed_out_job_has_failed(worker: str, queue: Any, log: RedisBackend) -> None:
    user = f"{worker}-timed-out"
    queue.enqueue(f"{WORK}.waits", user=user, job_timeout=1)
    assert await wait_for_state(log, f"user-{user}", "failed") == ["queued", "started", "failed"]
    assert "maximum timeout" in (await state_data(log, f"user-{user}", "failed"))["error"]


@only_horses
async def test_stopped_job_is_cancelled(worker: str, queue: Any, log: RedisBackend) -> None:
    user = f"{worker}-stopped"
    job = queue.enqueue(f"{WORK}.waits", user=user)
    await wait_for_state(log, f"user-{user}", "started")
    send_stop_job_command(queue.connection, job.id)
    states = await wait_for_state(log, f"user-{user}", "cancelled")
    assert states == ["queued", "started", "cancelled"]


@only_horses
async def test_hook_cancels_a_waiting_job_and_stops_a_running_one(
    worker: str, queue: Any, log: RedisBackend
) -> None:
    class Hooks:
        hook: Any

        def on_cancel(self, hook: Any) -> None:
            self.hook = hook

    hooks = Hooks()
    stop_on_cancel(hooks, queue, kill_after=0.1)
    running = queue.enqueue(f"{WORK}.waits", user=f"{worker}-hook-running")
    await wait_for_state(log, f"user-{worker}-hook-running", "started")
    waiting = queue.enqueue(f"{WORK}.works", user=f"{worker}-hook-waiting")
    for job in (waiting, running):
        await hooks.hook("user-42", job.id, "ann")
    for user, before in (("waiting", ["queued"]), ("running", ["queued", "started"])):
        states = await wait_for_state(log, f"user-{worker}-hook-{user}", "cancelled")
        assert states == [*before, "cancelled"]


async def test_job_cancelled_before_its_start_is_cancelled(
    worker: str, queue: Any, log: RedisBackend
) -> None:
    user = f"{worker}-cancelled"
    queue.enqueue(f"{WORK}.waits", user=f"{user}-before")
    job = queue.enqueue(f"{WORK}.works", user=user)
    job.cancel()
    queue.connection.rpush(f"go-{user}-before", "on")
    assert await wait_for_state(log, f"user-{user}", "cancelled") == ["queued", "cancelled"]


async def test_job_that_people_cancelled_in_the_queue_does_not_run(
    worker: str, queue: Any, log: RedisBackend
) -> None:
    user = f"{worker}-not-wanted"
    queue.enqueue(f"{WORK}.waits", user=f"{user}-before")
    job = queue.enqueue(f"{WORK}.works", user=user, retry=Retry(max=1))
    assert (await work.cancel(rq_broadcaster(), user, job.id)).accepted
    queue.connection.rpush(f"go-{user}-before", "on")
    states = await wait_for_state(log, f"user-{user}", "cancelled")
    assert states == ["queued", "cancelling", "started", "cancelled"]


async def test_running_job_is_cancelled_and_not_retried(
    worker: str, queue: Any, log: RedisBackend
) -> None:
    user = f"{worker}-cancelled-running"
    job = queue.enqueue(f"{WORK}.works_on", user=user, retry=Retry(max=1))
    await wait_for_state(log, f"user-{user}", "progress")
    assert (await work.cancel(rq_broadcaster(), user, job.id)).accepted
    await wait_for_state(log, f"user-{user}", "cancelled")
    queue.enqueue(f"{WORK}.returns", user=f"{user}-after")
    await wait_for_state(log, f"user-{user}-after", "completed")
    assert (await state_data(log, f"user-{user}-after", "completed"))["result"] == {"rows": 12}
    assert (await current_states(log, f"user-{user}"))[-1] == "cancelled"


async def test_job_of_a_killed_worker_is_lost(
    worker: str, queue: Any, log: RedisBackend, server: RedisServer
) -> None:
    # The last test: the worker is gone after it. A SimpleWorker is the process of its jobs.
    task = "kills_all" if worker == "Worker" else "is_killed"
    queue.enqueue(f"{WORK}.{task}", user=f"{worker}-lost")
    states = await wait_until_lost(server, log, f"{worker}-lost")
    assert states == ["queued", "started", "lost"]


def rq_broadcaster() -> Any:
    """Return the broadcaster of a client process."""
    from tests.integrations import rq_app

    return rq_app.broadcaster
