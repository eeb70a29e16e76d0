"""Job states of Procrastinate's jobs, reported by clients and workers."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge_backends.redis import RedisBackend
from tests.integrations import work, workers
from tests.integrations.jobs import current_states, state_data, wait_for_state, wait_until_lost
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

PROGRAM = str(Path(sys.executable).with_name("procrastinate"))


@pytest.fixture(scope="module")
def variables(variables: dict[str, str]) -> Iterator[dict[str, str]]:
    """Return the environment of workers and clients; the queue is in PostgreSQL."""
    with PostgresServer() as server:
        yield {**variables, "QUEUE_DATABASE_URL": server.url()}


def running(variables: dict[str, str], output: Path, *options: str) -> AbstractContextManager[None]:
    """Run a worker of one process."""
    command = (PROGRAM, "--app", "tests.integrations.procrastinate_app.app", "worker")
    path = {"PYTHONPATH": str(workers.ROOT)}
    return workers.running(*command, *options, variables=variables | path, output=output)


@pytest.fixture
async def app(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Return the application of a client process, with its tables."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    from tests.integrations import procrastinate_app

    async with procrastinate_app.app.open_async():
        if not await procrastinate_app.app.check_connection_async():
            await procrastinate_app.app.schema_manager.apply_schema_async()
        yield procrastinate_app


@pytest.fixture
def worker(app: Any, shared_worker: list[Any], variables: dict[str, str], tmp_path: Path) -> None:
    """Run one worker for all tests, once the tables are there."""
    if not shared_worker:
        context = running(variables, tmp_path / "worker.log", "-q", "default", "-c", "4")
        context.__enter__()
        shared_worker.append(context)


@pytest.fixture(scope="module")
def shared_worker() -> Iterator[list[Any]]:
    """Hold the worker of this module, and end it."""
    held: list[Any] = []
    yield held
    for context in held:
        context.__exit__(None, None, None)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("works", ["started", "progress", "completed"]),
        ("reports", ["started", "progress", "completed"]),
        ("raises", ["started", "failed"]),
        ("is_retried", ["started", "retrying", "started", "completed"]),
    ],
)
async def test_every_state_of_a_job_is_reported(
    app: Any, log: RedisBackend, task: str, expected: list[str]
) -> None:
    await getattr(app, task).defer_async(user=task)
    states = await wait_for_state(log, f"user-{task}", expected[-1])
    # Procrastinate stores the job before its client can report it.
    assert [state for state in states if state != "queued"] == expected


@pytest.mark.usefixtures("worker")
async def test_retry_is_reported_with_its_error(app: Any, log: RedisBackend) -> None:
    await app.is_retried.defer_async(user="why")
    await wait_for_state(log, "user-why", "completed")
    assert (await state_data(log, "user-why", "retrying"))["error"] == "not yet"


@pytest.mark.usefixtures("worker")
async def test_result_is_shown(app: Any, log: RedisBackend) -> None:
    job = await app.reports.defer_async(user="result")
    await wait_for_state(log, "user-result", "completed")
    assert (await state_data(log, "user-result", "completed"))["result"] == str(job)


@pytest.mark.usefixtures("worker")
async def test_job_cancelled_in_the_queue_does_not_run(app: Any, log: RedisBackend) -> None:
    for task in ("works", "waits"):
        user = f"before-{task}"
        deferrer = getattr(app, task).configure(schedule_in={"seconds": 1})
        job = await deferrer.defer_async(user=user)
        assert (await work.cancel(app.broadcaster, user, str(job))).accepted
        states = await wait_for_state(log, f"user-{user}", "cancelled")
        assert states == ["queued", "cancelling", "started", "cancelled"]


@pytest.mark.usefixtures("worker")
async def test_running_job_is_cancelled_and_not_retried(app: Any, log: RedisBackend) -> None:
    for task in ("works_on", "waits"):
        user = f"cancelled-{task}"
        job = await getattr(app, task).defer_async(user=user)
        await wait_for_state(log, f"user-{user}", "started")
        assert (await work.cancel(app.broadcaster, user, str(job))).accepted
        await wait_for_state(log, f"user-{user}", "cancelled")
        assert "retrying" not in await current_states(log, f"user-{user}")
        assert (await state_data(log, f"user-{user}", "cancelled"))["by"] == "ann"


async def test_job_that_procrastinate_cancels_or_a_page_with_the_hook_is_cancelled(
    app: Any, log: RedisBackend
) -> None:
    from realtime_bridge.integrations.procrastinate import cancel_on_cancel

    class Hooks:
        hook: Any

        def on_cancel(self, hook: Any) -> None:
            self.hook = hook

    hooks = Hooks()
    cancel_on_cancel(hooks, app.app)
    manager = app.app.job_manager
    for name, cancel in (
        ("async", manager.cancel_job_by_id_async),
        ("thread", lambda job: asyncio.to_thread(manager.cancel_job_by_id, job)),
        ("hook", lambda job: hooks.hook(f"user-{job}", str(job), "ann")),
    ):
        job = await app.works.configure(queue="no-worker").defer_async(user=f"api-{name}")
        await cancel(job)
        assert await current_states(log, f"user-api-{name}") == ["queued", "cancelled"]


async def test_jobs_of_a_thread_are_queued(app: Any, log: RedisBackend) -> None:
    task = app.works.configure(queue="no-worker")
    await asyncio.to_thread(task.batch_defer, {"user": "sync"}, {"user": "sync"})
    assert await current_states(log, "user-sync") == ["queued", "queued"]


async def test_job_of_a_stopped_worker_is_retried(
    app: Any, log: RedisBackend, variables: dict[str, str], tmp_path: Path
) -> None:
    with running(variables, tmp_path / "stopped.log", "-q", "doomed"):
        await app.waits.configure(queue="doomed").defer_async(user="stopped")
        await wait_for_state(log, "user-stopped", "started")
    assert (await current_states(log, "user-stopped"))[-2:] == ["started", "retrying"]


@pytest.mark.usefixtures("worker")
async def test_job_of_a_killed_worker_is_lost_and_completes_once_it_is_retried(
    app: Any,
    log: RedisBackend,
    server: RedisServer,
    variables: dict[str, str],
    tmp_path: Path,
) -> None:
    # The last test: the worker is gone after it.
    job = await app.is_killed_once.defer_async(user="procrastinate-lost")
    states = await wait_until_lost(server, log, "procrastinate-lost")
    assert [state for state in states if state != "queued"] == ["started", "lost"]
    await app.app.job_manager.retry_job_by_id_async(job, retry_at=datetime.now(UTC))
    with running(variables, tmp_path / "next.log", "-q", "default"):
        states = await wait_for_state(log, "user-procrastinate-lost", "completed")
    assert states[-2:] == ["started", "completed"]
