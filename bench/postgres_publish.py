"""Publishing through PostgreSQL, compared with bare SQL: python bench/postgres_publish.py."""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg

from realtime_bridge import Broadcaster, Event
from realtime_bridge.postgres.transactions import outbox_rows
from realtime_bridge_backends.postgres import PostgresBackend
from tests.services.postgres import PostgresServer

DATA = {"text": "x" * 180}
ROUNDS, SINGLES, PUBLISHERS, EACH = 5, 500, 8, 100
APPEND = "SELECT * FROM realtime.append(%s, %s, %s, %s, %s, %s)"


async def rate(count: int, step: Callable[[int], Awaitable[object]]) -> float:
    """Return the calls of `step` per second."""
    start = time.perf_counter()
    for number in range(count):
        await step(number)
    return count / (time.perf_counter() - start)


async def singles(url: str) -> tuple[float, float]:
    """Return publishes per second, by realtime_bridge and by bare SQL."""
    async with (
        Broadcaster(log=PostgresBackend(url)) as broadcaster,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):

        async def ours(_: int) -> None:
            await broadcaster.publish("job.7", "job.step", DATA)

        async def bare(_: int) -> None:
            event = Event(channel="job.7", event="job.step", data=DATA)
            columns = [list(column) for column in zip(*outbox_rows([event]), strict=True)]
            await (await connection.execute(APPEND, columns)).fetchall()

        await ours(0)
        await bare(0)
        return await rate(SINGLES, ours), await rate(SINGLES, bare)


async def eight_publishers(url: str, channels: int) -> float:
    """Return publishes per second of eight publishers, on a number of channels."""

    async def work(number: int) -> None:
        async with Broadcaster(log=PostgresBackend(url)) as broadcaster:
            channel = f"job.{number % channels}"
            await rate(EACH, lambda _: broadcaster.publish(channel, "job.step", DATA))

    start = time.perf_counter()
    await asyncio.gather(*(work(number) for number in range(PUBLISHERS)))
    return PUBLISHERS * EACH / (time.perf_counter() - start)


async def main() -> None:
    with PostgresServer("fsync=on") as server:
        url = server.database()
        pairs = [await singles(url) for _ in range(ROUNDS)]
        ours = statistics.median(pair[0] for pair in pairs)
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        print(f"publish one by one: {ours:,.0f}/s, {ratio:.2f} of the bare SQL")
        pairs = [
            (await eight_publishers(url, 1), await eight_publishers(url, 8)) for _ in range(ROUNDS)
        ]
        one = statistics.median(pair[0] for pair in pairs)
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        print(f"eight publishers to one channel: {one:,.0f}/s, {ratio:.2f} of eight channels")


if __name__ == "__main__":
    asyncio.run(main())
