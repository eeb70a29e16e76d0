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
BATCHES, BATCH = 20, 100
APPEND = "SELECT * FROM realtime.append(%s, %s, %s, %s, %s, %s, %s)"


async def rate(count: int, step: Callable[[int], Awaitable[object]]) -> float:
    """Return the calls of `step` per second."""
    start = time.perf_counter()
    for number in range(count):
        await step(number)
    return count / (time.perf_counter() - start)


async def compared(url: str, batch: int, count: int) -> tuple[float, float]:
    """Return events per second of batches, by realtime_bridge and by bare SQL."""
    async with (
        Broadcaster(log=PostgresBackend(url)) as broadcaster,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):

        def events() -> list[Event]:
            return [Event(channel="job.7", event="job.step", data=DATA) for _ in range(batch)]

        async def ours(_: int) -> None:
            await broadcaster.publish_many(events())

        async def bare(_: int) -> None:
            columns = [list(column) for column in zip(*outbox_rows(events()), strict=True)]
            await (await connection.execute(APPEND, columns)).fetchall()

        await ours(0)
        await bare(0)
        return batch * await rate(count, ours), batch * await rate(count, bare)


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
        for name, batch, count in (("one by one", 1, SINGLES), ("batches", BATCH, BATCHES)):
            pairs = [await compared(url, batch, count) for _ in range(ROUNDS)]
            ours = statistics.median(pair[0] for pair in pairs)
            ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
            print(f"publish, {name}: {ours:,.0f} events/s, {ratio:.2f} of the bare SQL")
        pairs = [
            (await eight_publishers(url, 1), await eight_publishers(url, 8)) for _ in range(ROUNDS)
        ]
        one = statistics.median(pair[0] for pair in pairs)
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        print(f"eight publishers to one channel: {one:,.0f}/s, {ratio:.2f} of eight channels")


if __name__ == "__main__":
    asyncio.run(main())
