"""Job states of Django's tasks: those of Django 6.0, or of the package `django-tasks` before."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from realtime_bridge import BlockingBroadcaster
from realtime_bridge_backends.redis import RedisBackend
from tests.integrations import work, workers
from tests.integrations.jobs import current_states, state_data, wait_for_state, wait_until_lost
from tests.services.postgres import PostgresServer
from tests.services.programs import wait_until
from tests.services.redis import RedisServer

Call = Callable[..., None]
PROGRAM = (sys.executable, "-m", "tests.integrations.django_tasks_program")


@pytest.fixture(scope="module")
def call(
    server: RedisServer, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Call]:
    """Run a site and a worker, and return the function that calls a task on the site."""
    folder = tmp_path_factory.mktemp("django")
    with ExitStack() as stack, server.client() as client:
        database = stack.enter_context(PostgresServer())
        environment = {**variables, "QUEUE_DATABASE_URL": database.url()}
        site, worker = folder / "site.log", folder / "worker.log"
        stack.enter_context(workers.running(*PROGRAM, "serve", variables=environment, output=site))
        wait_until(lambda: client.lpop("ready") is not None, log=site)
        options = ("db_worker", "--interval", "0.1", "--no-startup-delay")
        stack.enter_context(
            workers.running(*PROGRAM, *options, variables=environment, output=worker)
        )
        yield lambda name, user, how="": client.rpush(
            "calls", json.dumps({"name": name, "user": user, "how": how})
        )


@pytest.fixture
def broadcaster(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[BlockingBroadcaster]:
    """Return the broadcaster of a page that cancels."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    with BlockingBroadcaster.from_env() as broadcaster:
        yield broadcaster


@pytest.mark.parametrize(
    ("task", "how", "expected"),
    [
        ("works", "", ["started", "progress", "completed"]),
        ("works", "async", ["started", "progress", "completed"]),
        ("reports", "", ["started", "progress", "completed"]),
        ("returns", "by position", ["started", "completed"]),
        ("raises", "", ["started", "failed"]),
        ("exits", "", ["started", "failed"]),
    ],
)
async def test_every_state_of_a_task_is_reported(
    call: Call, log: RedisBackend, task: str, how: str, expected: list[str]
) -> None:
    user = f"{task}-{how.replace(' ', '-')}"
    call(task, user, how)
    states = await wait_for_state(log, f"user-{user}", expected[-1])
    # Django stores the task before the site can report it.
    assert [state for state in states if state != "queued"] == expected


async def test_end_is_reported_with_its_reason_or_result(call: Call, log: RedisBackend) -> None:
    call("raises", "why")
    call("reports", "result")
    await wait_for_state(log, "user-result", "completed")
    assert (await state_data(log, "user-why", "failed"))["error"] == "no such file"
    data = await state_data(log, "user-result", "completed")
    assert (data["result"], data["title"]) == (data["job"], "reports")


async def test_task_that_is_rolled_back_is_not_reported(call: Call, log: RedisBackend) -> None:
    call("works", "rolled-back", "rolled back")
    call("works", "after")
    await wait_for_state(log, "user-after", "completed")
    assert await current_states(log, "user-rolled-back") == []


async def cancel(
    broadcaster: BlockingBroadcaster, log: RedisBackend, user: str, state: str
) -> None:
    """Cancel the job of a user, which has a state."""
    await wait_for_state(log, f"user-{user}", state)
    job = (await state_data(log, f"user-{user}", state))["job"]
    assert (await work.cancel(broadcaster, user, job)).accepted


async def test_task_cancelled_in_the_queue_does_not_run(
    call: Call, broadcaster: BlockingBroadcaster, log: RedisBackend, server: RedisServer
) -> None:
    call("waits", "before-it")
    await wait_for_state(log, "user-before-it", "started")
    call("works", "before")
    await cancel(broadcaster, log, "before", "queued")
    server.client().rpush("go-before-it", "on")
    states = await wait_for_state(log, "user-before", "cancelled")
    assert states == ["queued", "cancelling", "started", "cancelled"]


async def test_running_task_is_cancelled(
    call: Call, broadcaster: BlockingBroadcaster, log: RedisBackend
) -> None:
    call("works_on", "cancelled")
    await cancel(broadcaster, log, "cancelled", "started")
    await wait_for_state(log, "user-cancelled", "cancelled")
    data: dict[str, Any] = await state_data(log, "user-cancelled", "cancelled")
    assert data["by"] == "ann"


async def test_task_of_a_killed_worker_is_lost(
    call: Call, log: RedisBackend, server: RedisServer
) -> None:
    # The last test: the worker is gone after it.
    call("is_killed", "django-lost")
    states = await wait_until_lost(server, log, "django-lost")
    assert [state for state in states if state != "queued"] == ["started", "lost"]
