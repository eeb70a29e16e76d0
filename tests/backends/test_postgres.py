"""PostgreSQL backend: contracts of a log and of a feed."""

from collections.abc import AsyncIterator
from functools import partial

import psycopg
import pytest

from realtime_bridge.model.retention import Retention
from realtime_bridge.testing import FeedContract, FoldingLogContract, LogContract
from realtime_bridge.testing.contracts.folding_histories import Elapse
from realtime_bridge_backends.postgres import PostgresBackend
from tests.services.postgres import PostgresServer


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.database()


@pytest.fixture(scope="module")
def short_url(postgres_server: PostgresServer) -> str:
    return postgres_server.database()


@pytest.fixture
async def sender(url: str) -> AsyncIterator[PostgresBackend]:
    async with PostgresBackend(url) as backend:
        yield backend


@pytest.fixture
async def receiver(url: str) -> AsyncIterator[PostgresBackend]:
    async with PostgresBackend(url) as backend:
        yield backend


class TestLog(LogContract):
    @pytest.fixture
    def receiver(self, receiver: PostgresBackend) -> PostgresBackend:
        return receiver


class TestFoldingLog(FoldingLogContract):
    @pytest.fixture
    def receiver(self, receiver: PostgresBackend) -> PostgresBackend:
        return receiver

    @pytest.fixture
    async def elapse(self, url: str) -> AsyncIterator[Elapse]:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            yield partial(shift_leases, connection)


async def shift_leases(connection: psycopg.AsyncConnection, channel: str, seconds: float) -> None:
    """Move the ends of all leases of a channel back, as if this time had passed."""
    await connection.execute(
        "UPDATE realtime.owned SET expires = expires - %s * interval '1 s' WHERE channel = %s",
        [seconds, channel],
    )
    await connection.execute("SELECT realtime.store_lease_times(%s)", [[channel]])


class TestLogWithShortHistory(LogContract):
    history_events = 600

    @pytest.fixture
    async def sender(self, short_url: str) -> AsyncIterator[PostgresBackend]:
        async with PostgresBackend(short_url, retention=Retention(events=600)) as backend:
            yield backend


class TestFeed(FeedContract):
    @pytest.fixture
    def receiver(self, receiver: PostgresBackend) -> PostgresBackend:
        return receiver
