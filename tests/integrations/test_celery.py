"""Job states of Celery tasks, reported by clients, workers and parent processes."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge_backends.redis import RedisBackend
from tests.integrations import work, workers
from tests.integrations.jobs import (
    TIMEOUT,
    all_data,
    attempts,
    current_states,
    state_data,
    wait_for_state,
    wait_until_lost,
)
from tests.services.programs import wait_until
from tests.services.redis import RedisServer

only_processes = pytest.mark.parametrize("worker", ["prefork"], indirect=True)
"""Celery can neither kill a thread nor limit its time."""


@pytest.fixture(scope="module", params=["prefork", "threads"])
def worker(
    variables: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Run a worker with two processes or threads, and return its pool."""
    command = (sys.executable, "-m", "celery", "-A", "tests.integrations.celery_app", "worker")
    options = ("-c", "2", "-P", request.param, "-l", "info")
    output = tmp_path_factory.mktemp("celery") / "worker.log"
    with workers.running(*command, *options, variables=variables, output=output):
        wait_until(lambda: "ready." in output.read_text(), log=output)
        yield request.param


@pytest.fixture
def app(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the application of a client process."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    from tests.integrations import celery_app

    return celery_app


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("works", ["queued", "started", "progress", "completed"]),
        ("raises", ["queued", "started", "failed"]),
        ("is_retried", ["queued", "started", "retrying", "started", "completed"]),
        ("ignores", ["queued", "started", "cancelled"]),
        ("rejects", ["queued", "started", "failed"]),
        ("requeues", ["queued", "started", "retrying", "started", "completed"]),
        ("fails_oddly", ["queued", "started", "failed"]),
        ("fails_at_length", ["queued", "started", "failed"]),
    ],
)
async def test_every_state_of_a_task_is_reported(
    worker: str, app: Any, log: RedisBackend, task: str, expected: list[str]
) -> None:
    user = f"{worker}-{task}"
    getattr(app, task).delay(user=user)
    assert await wait_for_state(log, f"user-{user}", expected[-1]) == expected


@pytest.mark.parametrize(
    ("task", "state", "error"),
    [
        ("ignores", "cancelled", "nothing to do"),
        ("rejects", "failed", "no such queue"),
        ("rejects_with_error", "failed", "bad input"),
        ("is_retried_without_a_handled_error", "retrying", "not yet"),
        ("fails_oddly", "failed", "UnreadableError without a readable text"),
    ],
)
async def test_end_is_reported_with_its_reason(
    worker: str, app: Any, log: RedisBackend, task: str, state: str, error: str
) -> None:
    user = f"{worker}-{task}-why"
    getattr(app, task).delay(user=user)
    await wait_for_state(log, f"user-{user}", state)
    assert (await state_data(log, f"user-{user}", state))["error"] == error


@pytest.mark.parametrize("worker", ["threads"], indirect=True)
async def test_task_that_ends_its_thread_has_failed(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-exits"
    app.exits.delay(user=user)
    await wait_for_state(log, f"user-{user}", "failed")
    assert (await state_data(log, f"user-{user}", "failed"))["error"] == "SystemExit: 3"


async def test_task_revoked_before_its_start_is_cancelled(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-before"
    app.works.apply_async(kwargs={"user": user}, countdown=2).revoke()
    assert await wait_for_state(log, f"user-{user}", "cancelled") == ["queued", "cancelled"]


async def test_expired_task_has_failed(worker: str, app: Any, log: RedisBackend) -> None:
    user = f"{worker}-expired"
    app.works.apply_async(kwargs={"user": user}, expires=-1)
    assert await wait_for_state(log, f"user-{user}", "failed") == ["queued", "failed"]


@pytest.mark.parametrize("length", [200, 300])
async def test_task_with_a_long_id_is_one_job(
    worker: str, app: Any, log: RedisBackend, length: int
) -> None:
    user = f"{worker}-{length}"
    app.works.apply_async(kwargs={"user": user}, task_id=f"{user}-".ljust(length, "x"))
    await wait_for_state(log, f"user-{user}", "completed")
    *others, latest = (await log.latest(f"user-{user}")).events
    assert latest.data["state"] == "completed"
    assert {event.key for event in others} <= {latest.key}


@only_processes
@pytest.mark.parametrize(
    ("task", "error"),
    [
        ("is_killed", "exited prematurely"),
        ("exceeds_time_limit", "1"),
        ("exceeds_soft_time_limit", "SoftTimeLimitExceeded"),
        ("exits", "exited prematurely"),
    ],
)
async def test_killed_or_timed_out_task_has_failed(
    worker: str, app: Any, log: RedisBackend, task: str, error: str
) -> None:
    user = f"{worker}-{task}"
    getattr(app, task).delay(user=user)
    assert (await wait_for_state(log, f"user-{user}", "failed"))[-2:] == ["started", "failed"]
    *_, latest = (await log.latest(f"user-{user}")).events
    assert error in latest.data["error"]


@only_processes
async def test_revoked_task_is_cancelled(worker: str, app: Any, log: RedisBackend) -> None:
    user = f"{worker}-revoked"
    task = app.waits.delay(user=user)
    await wait_for_state(log, f"user-{user}", "started")
    task.revoke(terminate=True)
    assert (await wait_for_state(log, f"user-{user}", "cancelled"))[-1] == "cancelled"


async def test_retry_is_reported_with_its_error(worker: str, app: Any, log: RedisBackend) -> None:
    user = f"{worker}-why"
    app.is_retried.delay(user=user)
    await wait_for_state(log, f"user-{user}", "completed")
    assert "'not yet'" in (await state_data(log, f"user-{user}", "retrying"))["error"]


async def test_delayed_retry_is_reported_with_its_time(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-when"
    before = time.time() * 1_000
    app.is_retried_later.delay(user=user)
    await wait_for_state(log, f"user-{user}", "retrying")
    data = await state_data(log, f"user-{user}", "retrying")
    assert data["error"] == "not yet"
    assert data["retry_at"] >= before + 60_000


async def test_argument_by_position_names_the_channel(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-position"
    app.takes_a_position.delay(user, number=2)
    states = await wait_for_state(log, f"user-{user}", "completed")
    assert states == ["queued", "started", "progress", "completed"]


async def test_task_without_a_channel_works(worker: str, app: Any, server: RedisServer) -> None:
    result = f"{worker}-result"
    app.has_no_job.delay(result=result)
    with server.client() as client:
        assert client.blpop([result], timeout=30) == (result, "done")


async def test_job_in_a_block_of_a_retried_task_completes(
    worker: str, app: Any, log: RedisBackend
) -> None:
    channel = f"{worker}-block"
    app.has_a_job_of_its_own.delay(channel=channel)
    states = await wait_for_state(log, channel, "completed")
    # The log refuses the report of the retry where the next attempt has begun before.
    attempts = [state for state in states if state != "retrying"]
    assert attempts == ["started", "started", "completed"]
    assert states.count("retrying") <= 1


async def test_task_cancelled_in_the_queue_does_not_start(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-cancelled-before"
    task = app.works.apply_async(kwargs={"user": user}, countdown=1)
    assert (await work.cancel(app.broadcaster, user, task.id)).accepted
    states = await wait_for_state(log, f"user-{user}", "cancelled")
    assert states == ["queued", "cancelling", "started", "cancelled"]


async def test_running_task_is_cancelled_and_not_retried(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-cancelled"
    task = app.works_on.delay(user=user)
    await wait_for_state(log, f"user-{user}", "progress")
    assert (await work.cancel(app.broadcaster, user, task.id)).accepted
    assert (await wait_for_state(log, f"user-{user}", "cancelled"))[-1] == "cancelled"
    assert (await state_data(log, f"user-{user}", "cancelled"))["by"] == "ann"


async def test_task_delivered_again_ends_its_first_run(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-again"
    call = app.works_on.s(user=user)
    call.apply_async(task_id=user)
    await wait_for_state(log, f"user-{user}", "progress")
    call.apply_async(task_id=user)
    # One of two workers is free again once the first run has ended.
    app.works.delay(user=f"{user}-after")
    await wait_for_state(log, f"user-{user}-after", "completed")
    assert not {"failed", "cancelled"} & {*(await current_states(log, f"user-{user}"))}
    assert (await work.cancel(app.broadcaster, user, user)).accepted
    states = await wait_for_state(log, f"user-{user}", "cancelled")
    assert states.count("started") == 2


async def test_message_delivered_again_by_its_visibility_timeout_is_a_new_run_each_time(
    variables: dict[str, str], app: Any, log: RedisBackend, server: RedisServer, tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "celery", "-A", "tests.integrations.celery_app", "worker")
    options = ("-c", "3", "-P", "threads", "-Q", "visible", "--without-mingle", "--without-gossip")
    environment = {**variables, "QUEUE_VISIBILITY": "1"}
    output = tmp_path / "worker.log"
    with (
        workers.running(*command, *options, variables=environment, output=output),
        app.app.connection_for_read(transport_options={"visibility_timeout": 1}) as connection,
    ):
        app.waits_for_item_unacknowledged.apply_async(kwargs={"user": "visible"}, queue="visible")
        await wait_for_state(log, "user-visible", "started")
        for count in (2, 3):
            async with asyncio.timeout(TIMEOUT):
                # What each worker of Celery does at its start, and every some minutes.
                while len(await attempts(log, "user-visible")) < count:
                    await asyncio.to_thread(
                        connection.default_channel.qos.restore_visible, 0, 10, 1
                    )
                    await asyncio.sleep(0.1)
        assert len({*await attempts(log, "user-visible")}) == 3
        server.client().rpush("go-visible", "on", "on", "on")
        assert (await wait_for_state(log, "user-visible", "completed"))[-1] == "completed"
    assert (await current_states(log, "user-visible")).count("completed") == 1


async def test_result_of_a_nested_task_is_shown(worker: str, app: Any, log: RedisBackend) -> None:
    user = f"{worker}-nested"
    parent = app.calls.delay(user=user)
    app.returns.delay(user=f"{user}-alone")
    while not any(data["result"] for data in await all_data(log, f"user-{user}")):
        await wait_for_state(log, f"user-{user}", "completed")
    child = [data for data in await all_data(log, f"user-{user}") if data["job"] != parent.id]
    assert {data["parent"] for data in child} == {parent.id}
    assert child[-1]["result"] == {"rows": 12}
    await wait_for_state(log, f"user-{user}-alone", "completed")
    assert (await state_data(log, f"user-{user}-alone", "started"))["parent"] is None


async def test_task_of_a_killed_worker_is_lost(
    worker: str, app: Any, log: RedisBackend, server: RedisServer
) -> None:
    # The last test: the worker is gone after it. One of threads is the process of its tasks.
    task = app.kills_all if worker == "prefork" else app.is_killed
    task.delay(user=f"{worker}-lost")
    states = await wait_until_lost(server, log, f"{worker}-lost")
    assert states == ["queued", "started", "lost"]
