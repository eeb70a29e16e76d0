"""Job states of taskiq's tasks, reported by clients and workers."""

import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge_backends.redis import RedisBackend
from tests.integrations import work, workers
from tests.integrations.jobs import current_states, state_data, wait_for_state, wait_until_lost
from tests.services.redis import RedisServer


def running(variables: dict[str, str], output: Path) -> AbstractContextManager[None]:
    """Run a worker of one process."""
    options = ("--workers", "1", "--max-async-tasks", "10")
    command = (sys.executable, "-m", "taskiq", "worker", "tests.integrations.taskiq_app:broker")
    return workers.running(*command, *options, variables=variables, output=output)


@pytest.fixture(scope="module", autouse=True)
def worker(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a worker."""
    with running(variables, tmp_path_factory.mktemp("taskiq") / "worker.log"):
        yield


@pytest.fixture
async def app(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Return the application of a client process."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    from tests.integrations import taskiq_app

    yield taskiq_app
    await taskiq_app.broker.connection_pool.disconnect()


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("works", ["started", "progress", "completed"]),
        ("reports", ["started", "progress", "completed"]),
        ("raises", ["started", "failed"]),
        ("is_retried", ["started", "retrying", "started", "completed"]),
        ("runs_too_long", ["started", "failed"]),
    ],
)
async def test_every_state_of_a_task_is_reported(
    app: Any, log: RedisBackend, task: str, expected: list[str]
) -> None:
    await getattr(app, task).kiq(user=task)
    states = await wait_for_state(log, f"user-{task}", expected[-1])
    # taskiq sends the message before its client can report it.
    assert [state for state in states if state != "queued"] == expected


async def test_retry_is_reported_with_its_error_and_time(app: Any, log: RedisBackend) -> None:
    before = time.time() * 1_000
    await app.is_retried.kiq(user="why")
    await wait_for_state(log, "user-why", "completed")
    data = await state_data(log, "user-why", "retrying")
    assert data["error"] == "not yet"
    assert data["retry_at"] >= before + 1_000


async def test_task_that_requeues_itself_completes(app: Any, log: RedisBackend) -> None:
    await app.requeues.kiq(user="requeues")
    states = await wait_for_state(log, "user-requeues", "completed")
    # The next run may begin before the first one can report that it waits for it.
    states = [state for state in states if state not in ("queued", "retrying")]
    assert states == ["started", "started", "completed"]


async def test_argument_by_position_names_the_channel_and_the_result_is_shown(
    app: Any, log: RedisBackend
) -> None:
    task = await app.reports.kiq("position")
    await wait_for_state(log, "user-position", "completed")
    assert (await state_data(log, "user-position", "completed"))["result"] == task.task_id


async def test_title_is_the_last_part_of_the_name(app: Any, log: RedisBackend) -> None:
    await app.returns.kiq(user="title")
    await wait_for_state(log, "user-title", "completed")
    assert (await state_data(log, "user-title", "completed"))["title"] == "returns"


async def test_running_task_is_cancelled_and_not_retried(app: Any, log: RedisBackend) -> None:
    for task in (app.works_on, app.waits):
        user = f"cancelled-{task.task_name.rpartition(':')[2]}"
        sent = await task.kiq(user=user)
        await wait_for_state(log, f"user-{user}", "started")
        assert (await work.cancel(app.broadcaster, user, sent.task_id)).accepted
        await wait_for_state(log, f"user-{user}", "cancelled")
        assert "retrying" not in await current_states(log, f"user-{user}")
        assert (await state_data(log, f"user-{user}", "cancelled"))["by"] == "ann"


async def test_task_cancelled_in_the_queue_does_not_run(
    app: Any, log: RedisBackend, variables: dict[str, str], tmp_path: Path
) -> None:
    sent = [
        await task.kicker().with_labels(queue_name="late").kiq(user=f"before-{name}")
        for name, task in (("sync", app.works), ("async", app.waits))
    ]
    for name, task in zip(("sync", "async"), sent, strict=True):
        assert (await work.cancel(app.broadcaster, f"before-{name}", task.task_id)).accepted
    with running({**variables, "QUEUE": "late"}, tmp_path / "worker.log"):
        for name in ("sync", "async"):
            states = await wait_for_state(log, f"user-before-{name}", "cancelled")
            assert states == ["queued", "cancelling", "started", "cancelled"]


async def test_task_delivered_again_ends_its_first_run(
    app: Any, log: RedisBackend, variables: dict[str, str], tmp_path: Path
) -> None:
    queue = app.works_on.kicker().with_labels(queue_name="idle")
    task = await queue.kiq(user="again")
    with running({**variables, "QUEUE": "idle", "QUEUE_IDLE_MS": "1"}, tmp_path / "worker.log"):
        await wait_for_state(log, "user-again", "progress")
        # The broker looks for idle messages after each new one, and so delivers the first again.
        other = app.returns.kicker().with_labels(queue_name="idle")
        await other.kiq(user="again-other")
        states = await wait_for_state(log, "user-again", "started", times=2)
        assert not {"failed", "cancelled"} & {*states}
        assert (await work.cancel(app.broadcaster, "again", task.task_id)).accepted
        assert (await wait_for_state(log, "user-again", "cancelled"))[-1] == "cancelled"


async def test_task_of_a_killed_process_is_lost(
    app: Any, log: RedisBackend, server: RedisServer
) -> None:
    await app.is_killed.kiq(user="taskiq-lost")
    states = await wait_until_lost(server, log, "taskiq-lost")
    assert [state for state in states if state != "queued"] == ["started", "lost"]
