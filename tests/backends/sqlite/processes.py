"""Processes that use one file: each is forked from a small process without threads."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from realtime_bridge import BlockingBroadcaster, Broadcaster
from realtime_bridge.model.event import Event
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.sqlite import SQLiteBackend

CHANNEL, OPENERS, KILLED = "job.7", 8, 3
_fork = multiprocessing.get_context("fork")


def run_all(works: list[Callable[[], object]]) -> None:
    """Run each work in a process of its own, and expect that all succeed."""
    processes = [_fork.Process(target=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(works)


def race(folder: Path, rounds: int) -> None:
    """Open a new file from several processes at once."""
    for number in range(rounds):
        path = folder / f"{number}.db"
        barrier = _fork.Barrier(OPENERS)
        run_all([lambda path=path, barrier=barrier: open_at(path, barrier)] * OPENERS)  # type: ignore[misc]
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT top, clean FROM channels, settings").fetchall()
        assert rows == [(OPENERS, 1)], rows


def open_at(path: Path, barrier: Any) -> None:
    """Open the file when all are ready, append one event, and leave."""

    async def append() -> None:
        async with SQLiteBackend(path) as log:
            await log.append(numbered(CHANNEL, 1))

    barrier.wait()
    asyncio.run(append())


def kill(folder: Path, rounds: int) -> None:
    """Kill processes at random moments of their appends; then check the file."""
    path, random = folder / "log.db", Random(rounds)
    acknowledged = folder / "acknowledged"
    for number in range(rounds):
        # A log knows the last 100,000 ids of a channel, and all rounds append more.
        channel = f"job.{number // 10}"
        processes = [
            _fork.Process(target=append_until_killed, args=(path, channel, acknowledged))
            for _ in range(KILLED)
        ]
        for process in processes:
            process.start()
        # On a busy machine, a process may take seconds to its first append.
        length = _length(acknowledged)
        while _length(acknowledged) == length:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.1))
        for process in processes:
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
    check_file(path, set(acknowledged.read_text("ascii").split()))


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def append_until_killed(path: Path, channel: str, acknowledged: Path) -> None:
    """Append from several tasks, and note each acknowledged id."""
    file = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def append(log: SQLiteBackend) -> None:
        while True:
            receipts = await log.append(numbered(channel, 2))
            # One write of a line is whole, also when the process is killed.
            os.write(file, "".join(f"{each.id}\n" for each in receipts).encode())

    async def run() -> None:
        async with SQLiteBackend(path) as log:
            await asyncio.gather(*(append(log) for _ in range(5)))

    asyncio.run(run())


def check_file(path: Path, acknowledged: set[str]) -> None:
    """Check that the file is consistent, and has every acknowledged event."""
    known: set[str] = set()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for channel, top, first in connection.execute("SELECT number, top, first FROM channels"):
            query = 'SELECT "offset" FROM events WHERE channel = ? ORDER BY "offset"'
            offsets = [offset for (offset,) in connection.execute(query, [channel])]
            assert offsets == list(range(first, top + 1))
            query = 'SELECT id, "offset" FROM ids WHERE channel = ?'
            ids = dict(connection.execute(query, [channel]).fetchall())
            assert sorted(ids.values()) == list(range(top - len(ids) + 1, top + 1))
            known |= ids.keys()
    # Older ids than the last thousand may be deleted after five minutes.
    missing = acknowledged - known
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged events are missing"
    print(f"{len(acknowledged)} acknowledged, {len(known)} stored")


def fork(folder: Path, _: int) -> None:
    """Publish in a parent, and in children that it forks afterwards."""
    path = folder / "log.db"
    with BlockingBroadcaster(lambda: Broadcaster(log=SQLiteBackend(path))) as broadcaster:
        broadcaster.publish(CHANNEL, "from.parent", 1)

        def child() -> None:
            inherited = database_descriptors(path)
            assert inherited
            broadcaster.publish(CHANNEL, "from.child", 2)
            # Not even a close is allowed here; and the lock of the parent is no more this one's.
            assert inherited <= database_descriptors(path)
            broadcaster.close()

        run_all([child, child])
        broadcaster.publish(CHANNEL, "from.parent", 3)
        with closing(sqlite3.connect(path)) as connection:
            # The parent still has the lock: no child has marked the file as left.
            rows = connection.execute("SELECT top, clean FROM channels, settings").fetchall()
    assert rows == [(4, 0)], rows
    asyncio.run(fork_within_loop(folder / "other.db"))


async def fork_within_loop(path: Path) -> None:
    """Fork a process whose open log appends in its own event loop."""
    async with SQLiteBackend(path) as log:
        await log.append(numbered(CHANNEL, 1))

        def child() -> None:
            asyncio.run(append_in_child(log))

        run_all([child])
        (receipt,) = await log.append(numbered(CHANNEL, 1))
        assert receipt.position
        assert receipt.position.offset == 3


async def append_in_child(log: SQLiteBackend) -> None:
    (receipt,) = await log.append([Event(channel=CHANNEL, event="from.child", data=1)])
    assert receipt.position
    assert receipt.position.offset == 2
    await log.__aexit__(None, None, None)


def database_descriptors(path: Path) -> set[tuple[str, str]]:
    """Return this process's descriptors of the database's files."""
    found = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            target = str(Path(entry.path).readlink())
        except OSError:
            continue
        if target in {str(path), f"{path}-wal", f"{path}-shm"}:
            found.add((entry.name, target))
    return found


WORKS: dict[str, Callable[[Path, int], None]] = {"race": race, "kill": kill, "fork": fork}


if __name__ == "__main__":
    WORKS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
