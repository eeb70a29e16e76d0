"""Loads on one file: processes of two containers, and writers beside a long read."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.model.event import Event
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.backends.sqlite.processes import CHANNEL, check_file, run_all

CONTAINERS, EVENTS = 2, 500
WRITERS, WAL_BYTES = 4, 20 * 1024 * 1024
MODULE = "tests.backends.sqlite.loads"
LEAVE_SECONDS = 2.0
STEADY_PAUSE, WATCH_SECONDS = 0.03, 0.1
NAMESPACES = ("--pid", "--fork", "--kill-child", "--mount-proc", "--ipc", "--uts", "--net")


def containers(folder: Path, _: int) -> None:
    """Run processes with the same process id, whose directory alone is shared."""
    command = ["unshare", *NAMESPACES, sys.executable, "-m", MODULE, "contained", str(folder)]
    processes = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(CONTAINERS)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * CONTAINERS
    (process_ids, orders) = zip(*(output.splitlines() for output in outputs), strict=True)
    assert len(set(process_ids)) == 1
    assert len(set(orders)) == 1
    check_file(folder / "log.db", set(orders[0].split()))
    with closing(sqlite3.connect(folder / "log.db")) as connection:
        assert connection.execute("SELECT clean FROM settings").fetchall() == [(1,)]


def contained(folder: Path, number: int) -> None:
    """Append beside the other containers, and print the ids in the order of their arrival."""
    print(os.getpid())
    print(*asyncio.run(append_and_listen(folder, number)))


async def append_and_listen(folder: Path, number: int) -> list[str]:
    """Append events one by one, and return the ids of all containers as the feed has them."""
    ids: list[str] = []
    async with SQLiteBackend(folder / "log.db") as log, log.listen() as listener:
        await listener.subscribe([CHANNEL])
        (folder / f"ready-{number}").touch()
        while len(list(folder.glob("ready-*"))) < CONTAINERS:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)

        async def append() -> None:
            for value in range(EVENTS):
                await log.append([Event(channel=CHANNEL, event="from.container", data=value)])

        async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            tasks.create_task(append())
            async for events in listener:
                assert not isinstance(events, FeedInterrupted)
                ids += [event.id for event in events]
                if len(ids) == CONTAINERS * EVENTS:
                    break
    return ids


def writers(folder: Path, seconds: int) -> None:
    """Append from several processes, first beside a program that keeps one state of the file."""
    path = folder / "log.db"
    asyncio.run(write(path, 0, 0.1))
    works = [partial(append_for, path, number, seconds) for number in range(WRITERS)]
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchall()
        run_all([*works, partial(listen_for, path, seconds)])
        print(f"{wal_bytes(path) / 1e6:.0f} MB of write-ahead log beside a read of {seconds} s")
        reader.execute("COMMIT")
    run_all([*works, partial(listen_for, path, seconds, most=WAL_BYTES)])


def listen_for(path: Path, seconds: float, most: int | None = None) -> None:
    """Keep the file open for some seconds, and expect that at most these bytes wait at the end."""

    async def keep_open() -> None:
        async with SQLiteBackend(path):
            await asyncio.sleep(seconds)
            assert most is None or wal_bytes(path) <= most, wal_bytes(path)
            await asyncio.sleep(LEAVE_SECONDS)  # no other process is the last one to leave

    asyncio.run(keep_open())


def steady(folder: Path, seconds: int) -> None:
    """Append for a long time at the rate of a busy application, and watch the write-ahead log."""
    path = folder / "log.db"
    asyncio.run(write(path, 0, 0.1))
    works = [partial(append_for, path, number, seconds, STEADY_PAUSE) for number in range(WRITERS)]
    run_all([*works, partial(listen_for, path, seconds), partial(watch_for, path, seconds)])


def watch_for(path: Path, seconds: float) -> None:
    """Expect at each moment that at most these bytes wait in the write-ahead log."""
    end, most = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        most = max(most, wal_bytes(path))
        time.sleep(WATCH_SECONDS)
    print(f"{most / 1024**2:.1f} MiB of write-ahead log at most in {seconds} s", flush=True)
    assert most <= WAL_BYTES, most


def append_for(path: Path, number: int, seconds: float, pause: float = 0.0) -> None:
    """Append for some seconds, without a failure, and print the slowest append."""
    slowest, count = asyncio.run(write(path, number, seconds, pause))
    print(f"writer {number}: {count} appends, the slowest {1_000 * slowest:.0f} ms")


async def write(path: Path, number: int, seconds: float, pause: float = 0.0) -> tuple[float, int]:
    """Append one event after the other, and return the slowest append and their number."""
    end, slowest, count = time.monotonic() + seconds, 0.0, 0
    async with SQLiteBackend(path) as log:
        while (started := time.monotonic()) < end:
            await log.append([Event(channel=f"job.{number}", event="e", data="x" * 300)])
            slowest, count = max(slowest, time.monotonic() - started), count + 1
            if pause:
                await asyncio.sleep(pause)
    return slowest, count


def wal_bytes(path: Path) -> int:
    """Return the size of the write-ahead log."""
    return Path(f"{path}-wal").stat().st_size


WORKS = {"containers": containers, "contained": contained, "writers": writers, "steady": steady}


if __name__ == "__main__":
    WORKS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
