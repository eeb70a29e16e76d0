"""Whatever becomes of a Celery task, its job tells it, from whichever process knows."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge_backends.redis import RedisBackend
from tests.cli.processes import Process
from tests.integrations.jobs import states, told_with

ROOT = Path(__file__).parent.parent.parent


only_processes = pytest.mark.parametrize("worker", ["prefork"], indirect=True)
"""Threads can be neither killed nor timed."""


@pytest.fixture(scope="module", params=["prefork", "threads"])
def worker(variables: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a worker of two, and return its pool."""
    command = (sys.executable, "-m", "celery", "-A", "tests.integrations.celery_app", "worker")
    options = ("-c", "2", "-P", request.param, "-l", "info")
    with Process(*command, *options, folder=ROOT, variables=variables) as process:
        while "ready." not in process.line(""):
            pass
        yield request.param


@pytest.fixture
def app(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the application, as a client process has it."""
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
    ],
)
async def test_what_a_task_does_is_told(
    worker: str, app: Any, log: RedisBackend, task: str, expected: list[str]
) -> None:
    user = f"{worker}-{task}"
    getattr(app, task).delay(user=user)
    assert await states(log, f"user-{user}", expected[-1]) == expected


@only_processes
@pytest.mark.parametrize(("task", "said"), [("dies", "exited prematurely"), ("never_ends", "1")])
async def test_a_task_that_is_killed_or_takes_too_long_has_failed(
    worker: str, app: Any, log: RedisBackend, task: str, said: str
) -> None:
    user = f"{worker}-{task}"
    getattr(app, task).delay(user=user)
    assert (await states(log, f"user-{user}", "failed"))[-2:] == ["started", "failed"]
    (latest,) = (await log.latest(f"user-{user}")).events
    assert said in latest.data["error"]


@only_processes
async def test_a_task_that_is_revoked_is_cancelled(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-revoked"
    sent = app.waits.delay(user=user)
    await states(log, f"user-{user}", "started")
    sent.revoke(terminate=True)
    assert (await states(log, f"user-{user}", "cancelled"))[-1] == "cancelled"


async def test_a_task_that_is_tried_again_says_why(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-why"
    app.is_retried.delay(user=user)
    await states(log, f"user-{user}", "completed")
    assert "'not yet'" in (await told_with(log, f"user-{user}", "retrying"))["error"]


async def test_a_task_that_is_tried_again_later_says_when(
    worker: str, app: Any, log: RedisBackend
) -> None:
    user = f"{worker}-when"
    before = time.time() * 1_000
    app.is_retried_later.delay(user=user)
    await states(log, f"user-{user}", "retrying")
    told = await told_with(log, f"user-{user}", "retrying")
    assert told["error"] == "not yet"
    assert told["retry_at"] >= before + 60_000
