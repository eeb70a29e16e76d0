"""PostgreSQL behind PgBouncer in transaction mode: publishers work, and doctor detects it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime_bridge import BlockingBroadcaster, Broadcaster
from realtime_bridge_backends.postgres import PostgresBackend
from tests.services.pgbouncer import PgBouncer
from tests.services.postgres import PostgresServer


@pytest.fixture
def pooled_url(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[str]:
    """Return the address of a database through the pooler."""
    with PgBouncer(tmp_path, postgres_server) as pooler:
        yield pooler.url(postgres_server.database())


async def test_parallel_publishers_share_sessions_of_the_server(pooled_url: str) -> None:
    async def publish(number: int) -> None:
        async with Broadcaster(log=PostgresBackend(pooled_url)) as broadcaster:
            for step in range(20):
                await broadcaster.publish(f"job.{number}", "job.step", step)

    async with asyncio.timeout(60):
        await asyncio.gather(*(publish(number) for number in range(10)))
    async with PostgresBackend(pooled_url) as log:
        tops = await log.positions([f"job.{number}" for number in range(10)])
    assert {top.offset for top in tops.values()} == {20}


def test_blocking_publisher_works_behind_the_pooler(pooled_url: str) -> None:
    with BlockingBroadcaster(lambda: Broadcaster(log=PostgresBackend(pooled_url))) as broadcaster:
        offsets = [
            receipt.position.offset
            for _ in range(20)
            if (receipt := broadcaster.publish("job.7", "job.step")).position
        ]
    assert offsets == [*range(1, 21)]


async def test_doctor_reports_a_lost_notification(pooled_url: str) -> None:
    async with PostgresBackend(pooled_url) as log:
        for _ in range(2):  # whichever session of the server each connection gets
            results = {result.check: result for result in await log.check()}
            listen = results.pop("postgres LISTEN")
            assert listen.status == "failed"
            assert listen.hint
            assert "PgBouncer in transaction mode" in listen.hint
            assert {result.status for result in results.values()} == {"ok"}
