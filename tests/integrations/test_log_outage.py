"""Tasks while the log is down: short calls, and ends that a process could not publish."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from realtime_bridge_backends.redis import RedisBackend
from tests.cli.processes import Process
from tests.integrations import workers
from tests.integrations.jobs import current_states, wait_for_state
from tests.services.programs import wait_until
from tests.services.redis import RedisServer

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def log_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run the Redis of the log, apart from that of the queue; it keeps its data."""
    with RedisServer(tmp_path / "log", "--save", "", "--appendonly", "yes") as server:
        yield server


@pytest.fixture
def variables(server: RedisServer, log_server: RedisServer) -> dict[str, str]:
    """Return the environment of workers and clients, with an empty queue."""
    server.client().flushall()
    return {
        "REALTIME_BACKEND": "redis",
        "REALTIME_REDIS_URL": log_server.url,
        "QUEUE_REDIS_URL": server.url,
    }


@pytest.fixture
async def log(log_server: RedisServer) -> AsyncIterator[RedisBackend]:
    """Return the log of the jobs."""
    async with RedisBackend(log_server.url) as backend:
        yield backend


def client(queue: str, user: str, count: int, variables: dict[str, str]) -> Process:
    """Return a process that calls a task."""
    arguments = ("-m", "tests.integrations.client", queue, user, str(count))
    return Process(sys.executable, *arguments, folder=ROOT, variables=variables)


@pytest.mark.timed
@pytest.mark.parametrize("queue", ["celery", "rq", "huey"])
async def test_calls_during_an_outage_cost_little_and_are_not_lost(
    queue: str, variables: dict[str, str], log_server: RedisServer, log: RedisBackend
) -> None:
    log_server.stop()
    with client(queue, "ann", 21, variables) as process:
        first, others = map(float, process.output_line().split())
        log_server.start()
        process.finish()
    assert first < 2
    assert others < 1
    assert await current_states(log, "user-ann") == ["queued"] * 21


def worker(
    queue: str, server: RedisServer, variables: dict[str, str], output: Path
) -> AbstractContextManager[None]:
    """Run a worker that has a process of its own for each task."""
    if queue == "celery":
        application = ("-A", "tests.integrations.celery_app")
        command = ("celery", *application, "worker", "-c", "1", "--max-tasks-per-child", "1")
    else:
        options = ("--worker-class", "tests.integrations.rq_app.Worker", "--path", ".")
        command = ("rq", "worker", "--url", server.url, *options)
    return workers.running(str(BIN / command[0]), *command[1:], variables=variables, output=output)


@pytest.mark.parametrize("queue", ["celery", "rq"])
async def test_parent_publishes_the_end_of_a_process_that_could_not(
    queue: str,
    variables: dict[str, str],
    server: RedisServer,
    log_server: RedisServer,
    log: RedisBackend,
    tmp_path: Path,
) -> None:
    output = tmp_path / "worker.log"
    server.client().rpush("go-", "on")  # the client's first task, without a job, ends at once
    with (
        worker(queue, server, variables, output),
        client(queue, queue, 1, variables) as process,
    ):
        process.finish()
        await wait_for_state(log, f"user-{queue}", "started")
        log_server.stop()
        server.client().rpush(f"go-{queue}", "on")
        wait_until(lambda: "job updates lost jobs=1" in output.read_text(), log=output)
        log_server.start()
        states = await wait_for_state(log, f"user-{queue}", "completed")
    assert states == ["queued", "started", "completed"]
