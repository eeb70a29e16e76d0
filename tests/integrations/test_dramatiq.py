"""Job states of Dramatiq messages, reported by clients and workers."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from dramatiq.brokers.redis import MAINTENANCE_SCALE, RedisBroker

from realtime_bridge_backends.redis import RedisBackend
from tests.integrations import work, workers
from tests.integrations.jobs import (
    attempts,
    current_states,
    state_data,
    wait_for_state,
    wait_until_lost,
)
from tests.services.redis import RedisServer


@pytest.fixture(scope="module", autouse=True)
def worker(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a worker with one process of two threads."""
    options = ("tests.integrations.dramatiq_app", "--processes", "1", "--threads", "2")
    output = tmp_path_factory.mktemp("dramatiq") / "worker.log"
    command = (sys.executable, "-m", "dramatiq", *options)
    with workers.running(*command, variables=variables, output=output):
        yield


@pytest.fixture
def app(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the application of a client process."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    from tests.integrations import dramatiq_app

    return dramatiq_app


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        ("works", ["queued", "started", "progress", "completed"]),
        ("returns", ["queued", "started", "completed"]),
        ("raises", ["queued", "started", "failed"]),
        ("is_retried", ["queued", "started", "retrying", "started", "completed"]),
    ],
)
async def test_every_state_of_a_message_is_reported(
    app: Any, log: RedisBackend, actor: str, expected: list[str]
) -> None:
    getattr(app, actor).send(user=actor)
    assert await wait_for_state(log, f"user-{actor}", expected[-1]) == expected


async def test_retry_is_reported_with_its_error(app: Any, log: RedisBackend) -> None:
    app.is_retried.send(user="why")
    await wait_for_state(log, "user-why", "completed")
    assert (await state_data(log, "user-why", "retrying"))["error"] == "not yet"


async def test_actor_over_its_time_limit_has_failed(app: Any, log: RedisBackend) -> None:
    app.runs_too_long.send(user="too-long")
    assert (await wait_for_state(log, "user-too-long", "failed"))[-1] == "failed"


async def test_message_cancelled_in_the_queue_does_not_start(app: Any, log: RedisBackend) -> None:
    message = app.works.send_with_options(kwargs={"user": "before"}, delay=1_000)
    assert (await work.cancel(app.broadcaster, "before", message.message_id)).accepted
    states = await wait_for_state(log, "user-before", "cancelled")
    assert states[-2:] == ["started", "cancelled"]


async def test_running_actor_is_cancelled_and_not_retried(app: Any, log: RedisBackend) -> None:
    message = app.works_on.send(user="cancelled")
    await wait_for_state(log, "user-cancelled", "progress")
    assert (await work.cancel(app.broadcaster, "cancelled", message.message_id)).accepted
    await wait_for_state(log, "user-cancelled", "cancelled")
    assert "retrying" not in await current_states(log, "user-cancelled")


async def test_message_delivered_again_ends_its_first_run(
    app: Any, log: RedisBackend, server: RedisServer
) -> None:
    message = app.works_on.send(user="again")
    await wait_for_state(log, "user-again", "progress")
    # Any call may deliver again what workers had without a sign of life: this one takes all for
    # such workers, whatever their clocks show.
    options: Any = {"heartbeat_timeout": -60_000, "maintenance_chance": MAINTENANCE_SCALE}
    broker: Any = RedisBroker(url=server.url, **options)  # type: ignore[no-untyped-call]
    await asyncio.to_thread(broker.do_qsize, app.works_on.queue_name)
    await wait_for_state(log, "user-again", "started", times=2)
    # One of two threads is free again once the first run has ended.
    app.returns.send(user="again-after")
    await wait_for_state(log, "user-again-after", "completed")
    assert not {"failed", "retrying", "cancelled"} & {*await current_states(log, "user-again")}
    assert (await work.cancel(app.broadcaster, "again", message.message_id)).accepted
    states = await wait_for_state(log, "user-again", "cancelled")
    assert states.count("started") == len({*await attempts(log, "user-again")}) == 2


async def test_message_of_a_killed_process_is_lost(
    app: Any, log: RedisBackend, server: RedisServer
) -> None:
    # The last test: Dramatiq ends all when one of its processes is killed.
    app.is_killed.send(user="dramatiq-lost")
    states = await wait_until_lost(server, log, "dramatiq-lost")
    assert states == ["queued", "started", "lost"]
