"""SQLite backend: contracts of a log and of a feed."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from realtime_bridge.model.retention import Retention
from realtime_bridge.testing import FeedContract, FoldingLogContract, LogContract
from realtime_bridge.testing.contracts.folding_histories import Elapse
from realtime_bridge_backends.sqlite import SQLiteBackend, SQLiteTiming
from realtime_bridge_backends.sqlite.session import Session

_SHIFT_KEYS = """
UPDATE latest SET expires = expires - ?
WHERE channel = (SELECT number FROM channels WHERE channel = ?)
"""
_SHIFT_CHANNEL = "UPDATE channels SET lease_at = lease_at - ? WHERE channel = ?"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a file that another process would keep open: leaving it costs no checkpoint."""
    path = tmp_path_factory.mktemp("sqlite") / "log.db"
    session = Session(path, "realtime", Retention(), SQLiteTiming())
    yield path
    session.close()


@pytest.fixture
async def sender(path: Path) -> AsyncIterator[SQLiteBackend]:
    async with SQLiteBackend(path) as backend:
        yield backend


@pytest.fixture
async def receiver(path: Path) -> AsyncIterator[SQLiteBackend]:
    async with SQLiteBackend(path) as backend:
        yield backend


class TestLog(LogContract):
    @pytest.fixture
    def receiver(self, receiver: SQLiteBackend) -> SQLiteBackend:
        return receiver


class TestFoldingLog(FoldingLogContract):
    @pytest.fixture
    def receiver(self, receiver: SQLiteBackend) -> SQLiteBackend:
        return receiver

    @pytest.fixture
    def elapse(self, path: Path) -> Elapse:
        return partial(shift_leases, path)


async def shift_leases(path: Path, channel: str, seconds: float) -> None:
    """Move the ends of all leases of a channel back, as if this time had passed."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    for statement in (_SHIFT_KEYS, _SHIFT_CHANNEL):
        connection.execute(statement, (seconds, channel))
    connection.close()


class TestLogWithShortHistory(LogContract):
    history_events = 600

    @pytest.fixture
    async def sender(self, tmp_path: Path) -> AsyncIterator[SQLiteBackend]:
        async with SQLiteBackend(tmp_path / "log.db", retention=Retention(events=600)) as backend:
            yield backend


class TestFeed(FeedContract):
    @pytest.fixture
    def receiver(self, receiver: SQLiteBackend) -> SQLiteBackend:
        return receiver
