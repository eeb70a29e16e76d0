"""Random histories of keys with owners, on a log and on the model of its rules.

python -m tests.fuzz.histories LOG [--first 0] [--count 1000]
"""

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import psycopg
from redis.asyncio import Redis

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model.retention import Retention
from realtime_bridge.testing.contracts.folding_histories import Elapse, compare_history
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend
from tests.backends import test_postgres, test_redis
from tests.backends.sqlite.killed import KilledLog
from tests.backends.sqlite.remote import FORK
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

LANES = 4
"""Histories that run at the same time, each on its own channel."""

ROUND = 100
"""Histories of one server: their contents are large, and a new server has none."""

Open = Callable[[], AbstractAsyncContextManager[tuple[FoldingLog, Elapse]]]
"""Opens a log, and the way to move its clock."""


@contextmanager
def memory() -> Iterator[Open]:
    """Provide logs in memory."""

    @asynccontextmanager
    async def open_log() -> AsyncIterator[tuple[FoldingLog, Elapse]]:
        clock = [1_000.0]

        async def advance(_: str, seconds: float) -> None:
            clock[0] += seconds

        async with MemoryBackend(Retention(seconds=10**9), clock=lambda: clock[0]) as log:
            yield log, advance

    yield open_log


@contextmanager
def redis() -> Iterator[Open]:
    """Provide logs in a Redis server."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder), "--save", "") as server:

        @asynccontextmanager
        async def open_log() -> AsyncIterator[tuple[FoldingLog, Elapse]]:
            async with Redis.from_url(server.url) as client, RedisBackend(server.url) as log:
                yield log, partial(test_redis.shift_leases, client)

        yield open_log


@contextmanager
def postgres() -> Iterator[Open]:
    """Provide logs in a PostgreSQL server."""
    with PostgresServer() as server:
        url = server.database()

        @asynccontextmanager
        async def open_log() -> AsyncIterator[tuple[FoldingLog, Elapse]]:
            connecting = psycopg.AsyncConnection.connect(url, autocommit=True)
            async with await connecting as connection, PostgresBackend(url) as log:
                yield log, partial(test_postgres.shift_leases, connection)

        yield open_log


@contextmanager
def sqlite() -> Iterator[Open]:
    """Provide logs in files, whose processes are killed at random moments."""
    with tempfile.TemporaryDirectory() as name:
        gc.freeze()  # a collection in a forked process would copy all its memory
        lanes = count()
        logs: list[KilledLog] = []

        @asynccontextmanager
        async def open_log() -> AsyncIterator[tuple[FoldingLog, Elapse]]:
            path = Path(tempfile.mkdtemp(dir=name), "log.db")
            async with KilledLog(path, next(lanes), FORK) as log:
                logs.append(log)
                yield log, log.elapse

        yield open_log
        ends, kills = sum(log.ends for log in logs), sum(log.kills for log in logs)
        committed = sum(log.committed for log in logs)
        print(f"{ends} ends, {kills} kills, {committed} of them after a commit", flush=True)


LOGS = {"sqlite": sqlite, "memory": memory, "redis": redis, "postgres": postgres}


async def compare(open_log: Open, seeds: Sequence[int]) -> None:
    """Run the histories of these seeds; a difference is raised."""
    remaining = iter(seeds)

    async def run_lane() -> None:
        async with open_log() as (log, elapse):
            for seed in remaining:
                await compare_history(log, elapse, seed)

    async with asyncio.TaskGroup() as lanes:
        for _ in range(LANES):
            lanes.create_task(run_lane())


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.histories")
    parser.add_argument("log", choices=LOGS)
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--count", type=int, default=1_000, help="number of histories (1000)")
    options = parser.parse_args()
    end, started = options.first + options.count, time.monotonic()
    for first in range(options.first, end, ROUND):
        seeds = range(first, min(end, first + ROUND))
        with LOGS[options.log]() as open_log:
            asyncio.run(compare(open_log, seeds))
        seconds = time.monotonic() - started
        print(f"{options.log}: {seeds.stop - options.first} histories, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
