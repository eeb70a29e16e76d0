"""Server processes on one SQLite file: no event is lost or repeated, and no page gets a reset."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from realtime_bridge import Broadcaster
from realtime_bridge.model.position import Position
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.nodes.clients import Clients, RecordingClient
from tests.nodes.cluster import Cluster, publish
from tests.nodes.load import FULL

CHANNELS = [f"job.{number}" for number in range(10)]
CLIENTS = 200 if FULL else 20
WORKERS = 4 if FULL else 2
EVENTS, SECONDS = (5_000, 20.0) if FULL else (500, 4.0)
TIMEOUT = 1_200.0 if FULL else 60.0

HISTORY = {"REALTIME_HISTORY_EVENTS": "10000"}
"""So that no client of a slow machine is away for longer than its channels' history."""


async def tops(path: Path) -> dict[str, Position]:
    async def read() -> dict[str, Position]:
        async with SQLiteBackend(path) as log:
            return await log.positions(CHANNELS)

    # In a loop of its own: this one may receive events for longer than a read may take.
    return await asyncio.to_thread(asyncio.run, read())


async def read_and_copy(path: Path) -> None:
    """Read and back up the file by the `sqlite3` of another program, again and again."""
    copy = path.with_name("copy.db")
    program = (
        "import sqlite3, sys\n"
        "for _ in range(10):\n"
        "    log, copy = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2])\n"
        "    log.execute('SELECT count(*), max(length(frame)) FROM events').fetchall()\n"
        "    log.backup(copy)\n"
        "    log.close(), copy.close()\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, path, copy)
    assert await process.wait() == 0
    with closing(sqlite3.connect(copy)) as copied:
        assert copied.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copied.execute("SELECT count(*) FROM events").fetchone()[0] > 0


@pytest.mark.parametrize("has_path", [True, False], ids=["workers_append", "workers_call"])
async def test_restarts_under_load_lose_no_event_and_reset_no_client(
    tmp_path: Path, *, has_path: bool
) -> None:
    path = tmp_path / ".realtime" / "log.db"
    # Two servers in one directory: the clients are connected to one, and workers call the other.
    with Cluster(2, folder=tmp_path, variables=dict(HISTORY)) as cluster:
        url, other = (f"http://127.0.0.1:{port}/realtime" for port in cluster.ports)
        cluster.variables["REALTIME_WEBSOCKET_URL"] = other
        if has_path:
            cluster.variables["REALTIME_SQLITE_PATH"] = str(path)
        async with Clients(url, CLIENTS, CHANNELS, each=2) as clients, asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(
                publish(WORKERS, EVENTS, CHANNELS, seconds=SECONDS, cluster=cluster)
            )
            async with asyncio.timeout(TIMEOUT):
                await clients.until_received(EVENTS // 20)
            await cluster.restart(0)
            await read_and_copy(path)
            cluster.kill(1)
            await cluster.start(1)
            published = await publishing
            await clients.wait_until_at(await tops(path), seconds=TIMEOUT)
    clients.check(published)
    assert clients.resets == []
    assert sum(map(len, published.ids.values())) == WORKERS * EVENTS


async def test_processes_of_one_port_deliver_each_event_once_and_in_order(tmp_path: Path) -> None:
    options = ("--workers", str(WORKERS))
    with Cluster(1, folder=tmp_path, variables=dict(HISTORY), options=options) as cluster:
        url = f"http://127.0.0.1:{cluster.ports[0]}/realtime"
        cluster.variables["REALTIME_WEBSOCKET_URL"] = url
        async with Clients(url, CLIENTS, CHANNELS, each=2) as clients:
            published = await publish(WORKERS, EVENTS, CHANNELS, seconds=0, cluster=cluster)
            path = tmp_path / ".realtime" / "log.db"
            await clients.wait_until_at(await tops(path), seconds=TIMEOUT)
        await cluster.stop(0)
    clients.check(published)
    assert clients.resets == []


async def test_events_of_a_time_without_a_server_follow_in_the_same_epoch(tmp_path: Path) -> None:
    path = tmp_path / ".realtime" / "log.db"
    with Cluster(1, folder=tmp_path, variables=dict(HISTORY)) as cluster:
        client = RecordingClient(f"http://127.0.0.1:{cluster.ports[0]}/realtime", "ann", ["job.1"])
        async with (
            asyncio.timeout(TIMEOUT),
            Broadcaster(log=SQLiteBackend(path)) as broadcaster,
            client.client,
            asyncio.TaskGroup() as tasks,
        ):
            await client.subscribe()
            listening = tasks.create_task(client.listen())
            first = await broadcaster.publish("job.1", "job.step", 1)
            assert first.position
            await client.wait_until_at({"job.1": first.position})
            cluster.kill(0)
            for number in range(2, 6):
                receipt = await broadcaster.publish("job.1", "job.step", number)
            await cluster.start(0)
            assert receipt.position
            await client.wait_until_at({"job.1": receipt.position})
            listening.cancel()
    assert receipt.position.epoch == first.position.epoch
    assert len(client.ids["job.1"]) == 5
    assert client.resets == []
