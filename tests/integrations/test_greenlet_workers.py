"""Celery's workers and Django's servers whose threads are greenlets."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar

from realtime_bridge import Event
from realtime_bridge.client import HybridClient
from realtime_bridge_backends.redis import RedisBackend
from tests.cli.processes import SECRET, Process, environment
from tests.integrations.jobs import wait_for_state

ROOT = Path(__file__).parent.parent.parent
# A process of its own: the application reads its broker's address once.
CALL = """
import sys
from tests.integrations import celery_app

for user in sys.argv[2:]:
    getattr(celery_app, sys.argv[1]).delay(user=user)
"""
GUNICORN = ("gunicorn", "-k", "gevent", "-b", "127.0.0.1:0")


@pytest.fixture(scope="module", params=["gevent", "eventlet"])
def worker(variables: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a worker whose tasks are greenlets, and return its pool."""
    command = (sys.executable, "-m", "celery", "-A", "tests.integrations.celery_app", "worker")
    options = ("-c", "4", "-P", request.param, "-l", "info")
    with Process(*command, *options, folder=ROOT, variables=variables) as process:
        while "ready." not in process.line(""):
            pass
        yield request.param


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("works", ["queued", "started", "progress", "completed"]),
        ("raises", ["queued", "started", "failed"]),
        ("is_retried", ["queued", "started", "retrying", "started", "completed"]),
        ("ignores", ["queued", "started", "cancelled"]),
    ],
)
async def test_parallel_tasks_report_every_state(
    worker: str, variables: dict[str, str], log: RedisBackend, task: str, expected: list[str]
) -> None:
    users = [f"{worker}-{task}-{number}" for number in range(4)]
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CALL, task, *users), cwd=ROOT, env=environment(variables)
    )
    assert await client.wait() == 0
    for user in users:
        assert await wait_for_state(log, f"user-{user}", expected[-1]) == expected


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the Django shop on gunicorn's gevent worker."""
    variables = {
        "REALTIME_BACKEND": "memory",
        "REALTIME_SECRET": SECRET,
        "SHOP_DATABASE": str(tmp_path_factory.mktemp("shop") / "shop.sqlite"),
    }
    application = "tests.integrations.django_app:wsgi_application"
    command = (sys.executable, "-m", *GUNICORN, application)
    with Process(*command, folder=ROOT, variables=variables) as process:
        line = ""
        while "http://" not in line:
            line = process.line("")
        yield "http://" + line.partition("http://")[2].split()[0]


async def test_views_and_polls_work_on_gunicorn_with_gevent(origin: str) -> None:
    async with (
        asyncio.timeout(60),
        ClientSession(origin, cookie_jar=CookieJar(unsafe=True)) as browser,
    ):
        async with browser.get("/enter?name=ann") as response:
            channel = f"user-{await response.text()}"
        async with browser.post("/realtime/connect", json={}) as response:
            token = (await response.json())["token"]
        async with HybridClient(f"{origin}/realtime", [channel], token=token) as client:
            await client.wait_subscribed()
            statuses = await asyncio.gather(*(pay(browser, number) for number in range(5)))
            assert statuses == [200] * 5
            stream = aiter(client)
            events = [await anext(stream) for _ in range(5)]
    orders = [event.data["order"] for event in events if isinstance(event, Event)]
    assert sorted(orders) == [*range(5)]


async def pay(browser: ClientSession, order: int) -> int:
    async with browser.get(f"/pay?order={order}") as response:
        return response.status
