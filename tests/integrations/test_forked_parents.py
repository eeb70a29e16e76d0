"""Children of a process that has published to the SQLite log: each has connections of its own."""

import asyncio
import sys
from pathlib import Path
from signal import SIGTERM
from urllib.request import Request, urlopen

import pytest
from celery import Celery

from realtime_bridge import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.cli.processes import SECRET, Process
from tests.integrations.forked_app import FOLDERS
from tests.integrations.test_servers import wait_until_it_listens
from tests.services.programs import free_port

ROOT = Path(__file__).parent.parent.parent
CHANNEL = "user-ann"
TIMEOUT = 60.0


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "queue").mkdir()
    return {
        "REALTIME_SQLITE_PATH": str(tmp_path / "log.db"),
        "REALTIME_SECRET": SECRET,
        "QUEUE_FOLDER": str(tmp_path / "queue"),
        "PYTHONWARNINGS": "ignore",
    }


async def events_of(log: SQLiteBackend) -> list[Event]:
    """Return all events of the channel."""
    top = (await log.positions([CHANNEL]))[CHANNEL]
    page = await log.read(CHANNEL, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return [*page.events]


async def wait_for_events(path: str, count: int) -> list[Event]:
    """Wait until the log has so many events."""
    async with asyncio.timeout(TIMEOUT), SQLiteBackend(path) as log, log.listen() as listener:
        await listener.subscribe([CHANNEL])
        announcements = aiter(listener)
        while len(events := await events_of(log)) < count:
            await anext(announcements)
        return events


async def test_celery_children_publish_after_their_parent(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    command = (sys.executable, "-m", "celery", "-A", "tests.integrations.forked_app")
    options = ("worker", "-P", "prefork", "-c", "2", "--without-mingle", "--without-gossip")
    with Process(*command, *options, folder=ROOT, variables=variables) as worker:
        path = variables["REALTIME_SQLITE_PATH"]
        await wait_for_events(path, 1)
        queue = Celery(broker="filesystem://")
        queue.conf.broker_transport_options = dict.fromkeys(FOLDERS, variables["QUEUE_FOLDER"])
        for _ in range(6):
            queue.send_task("order")
        parent, *children = await wait_for_events(path, 7)
        worker.send(SIGTERM)
        await asyncio.to_thread(worker.finish)
        assert not [line for line in worker.errors if "Traceback" in line or "malformed" in line]
    assert (parent.event, parent.data) == ("order.parent", worker.pid)
    assert {event.event for event in children} == {"order.child"}
    assert worker.pid not in {event.data for event in children}


async def test_gunicorn_children_publish_after_their_parent(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    port = free_port()
    command = (sys.executable, "-m", "gunicorn", "--no-control-socket", "--preload", "-w", "2")
    options = ("-b", f"127.0.0.1:{port}", "-k", "realtime_bridge.integrations.gunicorn.Worker")
    target = "tests.integrations.forked_app:web()"
    with Process(*command, *options, target, folder=ROOT, variables=variables) as server:
        wait_until_it_listens(port)
        pids: set[int] = set()
        async with asyncio.timeout(TIMEOUT):
            while len(pids) < 2:  # the kernel chooses the child
                pids.add(await asyncio.to_thread(post, f"http://127.0.0.1:{port}/publish"))
        parent, *children = await wait_for_events(variables["REALTIME_SQLITE_PATH"], 1)
        server.send(SIGTERM)
        await asyncio.to_thread(server.finish)
        assert not [line for line in server.errors if "Traceback" in line]
    assert (parent.event, parent.data) == ("order.parent", server.pid)
    assert {event.data for event in children} == pids


def post(url: str) -> int:
    with urlopen(Request(url, b""), timeout=30) as answer:
        return int(answer.read())
