"""Speed of appends to the log in a file, against bare sqlite3 with the same transactions.

`python -m bench.sqlite_publish` measures both in turns: their ratio survives a busy machine.
"""

import asyncio
import multiprocessing
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.wire.messages import encode_event
from realtime_bridge_backends.sqlite import SQLiteBackend
from realtime_bridge_backends.sqlite.database import connect, writing
from realtime_bridge_backends.sqlite.expiry import TRIM_EVENTS

CHANNEL, DATA = "job.7", {"text": "x" * 180}
EPOCH, KEPT = "k3v9q2wz", 1_000
SHAPES = {"one by one": (1, 1), "50 tasks": (50, 1), "batches of 100": (1, 100)}
"""Tasks, and events of one append."""

PROCESSES = 4


def make_event() -> Event:
    return Event(channel=CHANNEL, event="job.step", data=DATA)


async def append(path: Path, tasks: int, batch: int, events: int) -> list[float]:
    """Append events from several tasks, and return the duration of each append."""
    durations: list[float] = []

    async def publish(log: SQLiteBackend) -> None:
        for _ in range(events // tasks // batch):
            start = perf_counter()
            await log.append([make_event() for _ in range(batch)])
            durations.append(perf_counter() - start)

    async with SQLiteBackend(path) as log:
        await asyncio.gather(*(publish(log) for _ in range(tasks)))
    return durations


class Bare:
    """Appends by sqlite3 alone, in the calling thread: no queue, no pages of answers."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._connection = connect(path, 5.0)
        with writing(self._connection, 5.0):
            ((is_new,),) = self._connection.execute("SELECT count(*) = 0 FROM sqlite_schema")
            if is_new:
                self._create()

    def _create(self) -> None:
        schema = files("realtime_bridge_backends.sqlite").joinpath("schema.sql").read_text("utf-8")
        statement = ""
        for line in schema.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self._connection.execute(statement)
                statement = ""
        self._connection.execute(
            "INSERT INTO settings (single, prefix, lineage) VALUES (1, '', '')"
        )
        self._connection.execute(
            "INSERT INTO channels VALUES (1, ?, ?, 0, NULL, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL)",
            (CHANNEL, EPOCH),
        )

    def append(self, batch: int) -> None:
        execute = self._connection.execute
        with writing(self._connection, 5.0):
            ((commits,),) = execute(
                "UPDATE settings SET commits = commits + 1 RETURNING commits"
            ).fetchall()
            ((top, size),) = execute(
                "SELECT top, bytes FROM channels WHERE channel = ?", (CHANNEL,)
            ).fetchall()
            events, ids = [], []
            for number in range(1, batch + 1):
                event = make_event()
                execute("SELECT 1 FROM ids WHERE channel = 1 AND id = ?", (event.id,)).fetchone()
                stored = event.with_position(Position(EPOCH, top + number, event.id), 1)
                frame = encode_event(stored)
                events.append((1, top + number, event.id, len(event.body), frame))
                ids.append((1, event.id, top + number, commits))
            self._connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", events)
            self._connection.executemany("INSERT INTO ids VALUES (?, ?, ?, ?)", ids)
            last = top + batch
            if last // TRIM_EVENTS != top // TRIM_EVENTS:
                for table in ("events", "ids"):
                    execute(
                        f'DELETE FROM {table} WHERE channel = 1 AND "offset" <= ?', (last - KEPT,)
                    )
            execute(
                "UPDATE channels SET top = ?, bytes = ?, changed = ? WHERE number = 1",
                (last, size, commits),
            )
        if commits % CHECKPOINT_COMMITS == 0:
            execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        self._connection.close()


CHECKPOINT_COMMITS = 80
"""Transactions between two checkpoints, as many as the log has of one event."""


def append_bare(path: Path, tasks: int, batch: int, events: int) -> list[float]:
    """Append events, those of all tasks in one transaction; return the durations."""
    log = Bare(path)
    durations = []
    for _ in range(events // tasks // batch):
        start = perf_counter()
        log.append(tasks * batch)
        durations.append(perf_counter() - start)
    log.close()
    return durations


def rate(work: Callable[[], object], events: int) -> tuple[float, float]:
    """Return events per second, and microseconds of CPU for an event."""
    start, cpu_start = perf_counter(), process_time()
    work()
    seconds, cpu_seconds = perf_counter() - start, process_time() - cpu_start
    return events / seconds, cpu_seconds / events * 1e6


@contextmanager
def new_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "log.db"


def compare(tasks: int, batch: int, events: int) -> dict[str, float]:
    """Append the same events to the log, and by bare sqlite3."""
    with new_file() as path:
        bare, bare_cpu = rate(lambda: append_bare(path, tasks, batch, events), events)
    with new_file() as path:
        ours, cpu = rate(lambda: asyncio.run(append(path, tasks, batch, events)), events)
    return {
        "events": ours,
        "bare": bare,
        "ratio": ours / bare,
        "cpu_us": cpu,
        "bare_cpu_us": bare_cpu,
        "cpu_ratio": bare_cpu / cpu,
    }


def _append_ours(path: Path, events: int) -> list[float]:
    return asyncio.run(append(path, 1, 1, events))


def _append_bare(path: Path, events: int) -> list[float]:
    return append_bare(path, 1, 1, events)


def in_processes(
    work: Callable[[Path, int], list[float]], events: int
) -> tuple[float, list[float]]:
    """Append from several processes at a time; return events per second, and the durations."""
    with new_file() as path:
        work(path, 10)
        with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            pool.starmap(work, [(path, 10)] * PROCESSES)  # all have started
            start = perf_counter()
            durations = pool.starmap(work, [(path, events // PROCESSES)] * PROCESSES)
            seconds = perf_counter() - start
    return events / seconds, sorted(one for each in durations for one in each)


def compare_processes(events: int) -> dict[str, float]:
    """Append one event after the other from several processes, to the log and by bare sqlite3."""
    bare, _ = in_processes(_append_bare, events)
    ours, durations = in_processes(_append_ours, events)
    return {
        "events": ours,
        "bare": bare,
        "ratio": ours / bare,
        "p50_ms": median(durations) * 1e3,
        "p99_ms": durations[len(durations) * 99 // 100] * 1e3,
        "most_ms": durations[-1] * 1e3,
    }


def measure(rounds: int, events: int) -> dict[str, dict[str, float]]:
    """Return the medians of each shape."""
    results: dict[str, Any] = {
        name: [compare(*shape, events * shape[1] * (1 + shape[0] // 10)) for _ in range(rounds)]
        for name, shape in SHAPES.items()
    }
    results[f"{PROCESSES} processes"] = [compare_processes(events * 2) for _ in range(rounds)]
    return {
        name: {key: median(run[key] for run in runs) for key in runs[0]}
        for name, runs in results.items()
    }


def main() -> None:
    rounds, events = (3, 1_000) if "--quick" in sys.argv else (5, 5_000)
    for name, result in measure(rounds, events).items():
        print(name, ", ".join(f"{key} {value:,.2f}" for key, value in result.items()), flush=True)


if __name__ == "__main__":
    main()
