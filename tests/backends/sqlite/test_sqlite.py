"""SQLite backend: contracts of a log and of a feed."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from realtime_bridge.model.retention import Retention
from realtime_bridge.testing import FeedContract, FoldingLogContract, LogContract
from realtime_bridge.testing.contracts.folding_histories import Elapse, compare_history
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.backends.sqlite.killed import KilledLog
from tests.backends.sqlite.remote import RemoteLog, RemoteProcess

_SHIFT_KEYS = """
UPDATE latest SET expires = expires - ?
WHERE channel = (SELECT number FROM channels WHERE channel = ?)
"""
_SHIFT_CHANNEL = "UPDATE channels SET lease_at = lease_at - ? WHERE channel = ?"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sqlite") / "log.db"


@pytest.fixture(scope="module")
def process(path: Path) -> Iterator[RemoteProcess]:
    """Run another process that has the file open, so that no test is the last one to leave."""
    process = RemoteProcess(path)
    yield process
    process.close()


@pytest.fixture
async def sender(path: Path) -> AsyncIterator[SQLiteBackend]:
    async with SQLiteBackend(path) as backend:
        yield backend


class TestLog(LogContract):
    @pytest.fixture
    def receiver(self, process: RemoteProcess) -> RemoteLog:
        return RemoteLog(process)


class TestFoldingLog(FoldingLogContract):
    @pytest.fixture
    def receiver(self, process: RemoteProcess) -> RemoteLog:
        return RemoteLog(process)

    @pytest.fixture
    def elapse(self, path: Path) -> Elapse:
        return partial(shift_leases, path)


async def test_random_histories_survive_killed_processes(tmp_path: Path) -> None:
    async with KilledLog(tmp_path / "log.db", seed=1) as log:
        await compare_history(log, log.elapse, seed=100)
    assert log.kills


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
    def sender(self, process: RemoteProcess) -> RemoteLog:
        return RemoteLog(process)

    @pytest.fixture
    async def receiver(self, path: Path) -> AsyncIterator[SQLiteBackend]:
        async with SQLiteBackend(path) as backend:
            yield backend


class TestFeedOfItsOwnAppends(FeedContract):
    @pytest.fixture
    def receiver(self, sender: SQLiteBackend) -> SQLiteBackend:
        return sender
