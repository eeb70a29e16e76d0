"""Job states of arq's jobs, reported by clients and workers."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.constants import in_progress_key_prefix

from realtime_bridge_backends.redis import RedisBackend
from tests.integrations import work, workers
from tests.integrations.jobs import current_states, state_data, wait_for_state, wait_until_lost
from tests.services.redis import RedisServer

ARQ = str(Path(sys.executable).with_name("arq"))
# arq passes an argument that later versions of redis-py call deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Call to '__init__' function:DeprecationWarning")

COMMAND = (ARQ, "tests.integrations.arq_app.WorkerSettings")


@pytest.fixture(scope="module", autouse=True)
def worker(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a worker."""
    output = tmp_path_factory.mktemp("arq") / "worker.log"
    with workers.running(*COMMAND, variables=variables, output=output):
        yield


@pytest.fixture
def app(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the application of a client process."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    from tests.integrations import arq_app

    return arq_app


@pytest.fixture
async def pool(app: Any, server: RedisServer) -> AsyncIterator[ArqRedis]:
    """Return the client of the queue."""
    pool = await create_pool(RedisSettings.from_dsn(server.url))
    yield pool
    await pool.aclose()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("works", ["started", "progress", "completed"]),
        ("returns", ["started", "completed"]),
        ("raises", ["started", "failed"]),
        ("is_retried", ["started", "retrying", "started", "completed"]),
        ("is_retried_too_often", ["started", "failed"]),
        ("runs_too_long", ["started", "failed"]),
    ],
)
async def test_every_state_of_a_job_is_reported(
    pool: ArqRedis, log: RedisBackend, function: str, expected: list[str]
) -> None:
    await pool.enqueue_job(function, user=function)
    states = await wait_for_state(log, f"user-{function}", expected[-1])
    # arq accepts the job before its client can report it.
    assert [state for state in states if state != "queued"] == expected


@pytest.mark.parametrize(
    ("function", "state", "error"),
    [
        ("is_retried", "retrying", "not yet"),
        ("is_retried_too_often", "failed", "failed after 1 tries: not yet"),
        ("runs_too_long", "failed", "exceeded its time limit"),
    ],
)
async def test_end_is_reported_with_its_reason(
    pool: ArqRedis, log: RedisBackend, function: str, state: str, error: str
) -> None:
    await pool.enqueue_job(function, user=f"{function}-why")
    await wait_for_state(log, f"user-{function}-why", state)
    assert (await state_data(log, f"user-{function}-why", state))["error"] == error


async def test_argument_by_position_names_the_channel_and_the_result_is_shown(
    pool: ArqRedis, log: RedisBackend
) -> None:
    await pool.enqueue_job("returns", "position")
    await wait_for_state(log, "user-position", "completed")
    assert (await state_data(log, "user-position", "completed"))["result"] == {"rows": 12}


async def test_job_without_a_channel_works(pool: ArqRedis) -> None:
    job = await pool.enqueue_job("returns", "")
    assert job
    assert await job.result(timeout=10, poll_delay=0.05) == {"rows": 12}


async def test_job_with_an_id_that_exists_is_reported_once(
    pool: ArqRedis, log: RedisBackend
) -> None:
    for _ in range(2):
        await pool.enqueue_job("works", _job_id="twice", _defer_by=3_600, user="twice")
    assert await current_states(log, "user-twice") == ["queued"]


async def test_job_cancelled_in_the_queue_does_not_run(
    app: Any, pool: ArqRedis, log: RedisBackend
) -> None:
    job = await pool.enqueue_job("works", _defer_by=0.5, user="before")
    assert job
    assert (await work.cancel(app.broadcaster, "before", job.job_id)).accepted
    states = await wait_for_state(log, "user-before", "cancelled")
    assert states == ["queued", "cancelling", "started", "cancelled"]


async def test_tasks_of_one_worker_ask_at_once(app: Any, pool: ArqRedis, log: RedisBackend) -> None:
    users = {"ask-1": "yes", "ask-2": "no"}
    jobs = {user: await pool.enqueue_job("asks", user=user) for user in users}
    for user in users:
        await wait_for_state(log, f"user-{user}", "asking")
    for user, answer in users.items():
        job = jobs[user]
        assert job
        arguments = (f"user-{user}", job.job_id, "q", answer)
        assert (await asyncio.to_thread(app.broadcaster.answer_job, *arguments)).accepted
        await wait_for_state(log, f"user-{user}", "completed")
        assert (await state_data(log, f"user-{user}", "completed"))["result"] == answer


@pytest.mark.parametrize("function", ["works_on", "waits"])
async def test_running_job_is_cancelled_and_not_retried(
    app: Any, pool: ArqRedis, log: RedisBackend, function: str
) -> None:
    user = f"cancelled-{function}"
    job = await pool.enqueue_job(function, user=user)
    assert job
    await wait_for_state(log, f"user-{user}", "started")
    assert (await work.cancel(app.broadcaster, user, job.job_id)).accepted
    await wait_for_state(log, f"user-{user}", "cancelled")
    assert "retrying" not in await current_states(log, f"user-{user}")
    assert (await state_data(log, f"user-{user}", "cancelled"))["by"] == "ann"


async def test_aborted_job_is_cancelled(pool: ArqRedis, log: RedisBackend) -> None:
    job = await pool.enqueue_job("waits", user="aborted")
    assert job
    await wait_for_state(log, "user-aborted", "started")
    assert await job.abort(timeout=10, poll_delay=0.05)
    assert (await wait_for_state(log, "user-aborted", "cancelled"))[-1] == "cancelled"


async def test_job_delivered_again_ends_its_first_run(
    app: Any, pool: ArqRedis, log: RedisBackend, variables: dict[str, str], tmp_path: Path
) -> None:
    job = await pool.enqueue_job("works_on", user="again")
    assert job
    await wait_for_state(log, "user-again", "progress")
    with workers.running(*COMMAND, variables=variables, output=tmp_path / "worker.log"):
        # As when the mark of the first worker runs out: its time limit and 10 s.
        await pool.delete(in_progress_key_prefix + job.job_id)
        states = await wait_for_state(log, "user-again", "started", times=2)
        assert not {"failed", "cancelled"} & {*states}
        assert (await work.cancel(app.broadcaster, "again", job.job_id)).accepted
        assert (await wait_for_state(log, "user-again", "cancelled"))[-1] == "cancelled"


async def test_job_of_a_stopped_worker_is_retried_and_that_of_a_killed_one_lost(
    pool: ArqRedis,
    log: RedisBackend,
    server: RedisServer,
    variables: dict[str, str],
    tmp_path: Path,
) -> None:
    queue = {"QUEUE": "doomed"}
    with workers.running(*COMMAND, variables=variables | queue, output=tmp_path / "first.log"):
        await pool.enqueue_job("waits", _queue_name="doomed", user="stopped")
        await wait_for_state(log, "user-stopped", "started")
    assert (await state_data(log, "user-stopped", "retrying"))["error"] == "the worker stopped"
    with workers.running(*COMMAND, variables=variables | queue, output=tmp_path / "second.log"):
        await pool.enqueue_job("is_killed", _queue_name="doomed", user="arq-lost")
        states = await wait_until_lost(server, log, "arq-lost")
    assert [state for state in states if state != "queued"] == ["started", "lost"]


def test_settings_may_be_a_dictionary(app: Any) -> None:
    async def plain(ctx: dict[str, Any]) -> str:
        return "done"

    settings: dict[str, Any] = {"functions": [plain]}
    app.track_tasks(settings, app.broadcaster, lambda _: None)
    (function,) = settings["functions"]
    assert asyncio.run(function.coroutine({"job_id": "1", "job_try": 1})) == "done"
