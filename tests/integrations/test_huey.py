"""Job states of Huey tasks, run by threads and by processes."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge_backends.redis import RedisBackend
from tests.integrations import work, workers
from tests.integrations.jobs import current_states, state_data, wait_for_state, wait_until_lost
from tests.services.redis import RedisServer

CONSUMER = str(Path(sys.executable).with_name("huey_consumer"))


@pytest.fixture(scope="module", params=["thread", "process"])
def worker(
    variables: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Run a consumer with one worker, and return the kind of worker."""
    options = ("-k", request.param, "-w", "1", "-d", "0.05", "-m", "0.1", "-c", "0.2")
    command = (sys.executable, CONSUMER, "tests.integrations.huey_app.huey", *options)
    output = tmp_path_factory.mktemp("huey") / "consumer.log"
    with workers.running(*command, variables=variables, output=output):
        yield request.param


@pytest.fixture
def app(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the application of a client process."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    from tests.integrations import huey_app

    return huey_app


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("works", ["queued", "started", "progress", "completed"]),
        ("raises", ["queued", "started", "failed"]),
        ("is_retried", ["queued", "started", "retrying", "started", "completed"]),
        ("fails_oddly", ["queued", "started", "failed"]),
        ("fails_at_length", ["queued", "started", "failed"]),
        ("cancels_itself", ["queued", "started", "cancelled"]),
    ],
)
async def test_every_state_of_a_task_is_reported(
    worker: str, app: Any, log: RedisBackend, task: str, expected: list[str]
) -> None:
    user = f"{worker}-{task}"
    getattr(app, task)(user=user)
    assert await wait_for_state(log, f"user-{user}", expected[-1]) == expected


async def test_retry_is_reported_with_its_error(worker: str, app: Any, log: RedisBackend) -> None:
    user = f"{worker}-why"
    app.is_retried(user=user)
    await wait_for_state(log, f"user-{user}", "completed")
    assert (await state_data(log, f"user-{user}", "retrying"))["error"] == "not yet"


async def test_expired_task_has_failed(worker: str, app: Any, log: RedisBackend) -> None:
    user = f"{worker}-expired"
    task = app.works.s(user=user)
    task.expires = datetime(2020, 1, 1, tzinfo=UTC)
    app.huey.enqueue(task)
    assert await wait_for_state(log, f"user-{user}", "failed") == ["queued", "failed"]


async def test_task_that_ends_its_worker_has_failed(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-exits"
    app.exits(user=user)
    assert await wait_for_state(log, f"user-{user}", "failed") == ["queued", "started", "failed"]
    assert (await state_data(log, f"user-{user}", "failed"))["error"] == "SystemExit: 3"


@pytest.mark.parametrize("worker", ["process"], indirect=True)
async def test_timed_out_task_has_failed(worker: str, app: Any, log: RedisBackend) -> None:
    user = f"{worker}-too-long"
    app.runs_too_long(user=user)
    assert await wait_for_state(log, f"user-{user}", "failed") == ["queued", "started", "failed"]


async def test_task_revoked_before_its_start_is_cancelled(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-revoked"
    app.waits(user=f"{user}-before")
    app.works(user=user).revoke()
    app.huey.storage.conn.rpush(f"go-{user}-before", "on")
    assert await wait_for_state(log, f"user-{user}", "cancelled") == ["queued", "cancelled"]


async def test_task_cancelled_in_the_queue_does_not_start(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-cancelled-before"
    app.waits(user=f"{user}-before")
    task = app.works(user=user)
    assert (await work.cancel(app.broadcaster, user, task.id)).accepted
    app.huey.storage.conn.rpush(f"go-{user}-before", "on")
    states = await wait_for_state(log, f"user-{user}", "cancelled")
    assert states == ["queued", "cancelling", "started", "cancelled"]


async def test_running_task_is_cancelled_and_not_retried(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-cancelled"
    task = app.works_on(user=user)
    await wait_for_state(log, f"user-{user}", "progress")
    assert (await work.cancel(app.broadcaster, user, task.id)).accepted
    await wait_for_state(log, f"user-{user}", "cancelled")
    app.returns(user=f"{user}-after")
    await wait_for_state(log, f"user-{user}-after", "completed")
    assert (await state_data(log, f"user-{user}-after", "completed"))["result"] == {"rows": 12}
    assert (await current_states(log, f"user-{user}"))[-1] == "cancelled"


@pytest.mark.parametrize("worker", ["process"], indirect=True)
async def test_task_of_a_killed_process_is_lost(
    worker: str, app: Any, log: RedisBackend, server: RedisServer
) -> None:
    app.is_killed(user=f"{worker}-lost")
    states = await wait_until_lost(server, log, f"{worker}-lost")
    assert states == ["queued", "started", "lost"]


async def test_task_of_a_killed_consumer_is_lost(
    worker: str, app: Any, log: RedisBackend, server: RedisServer
) -> None:
    # The last test: the consumer is gone after it. One of threads is the process of its tasks.
    task = app.kills_all if worker == "process" else app.is_killed
    task(user=f"{worker}-consumer-lost")
    states = await wait_until_lost(server, log, f"{worker}-consumer-lost")
    assert states == ["queued", "started", "lost"]
