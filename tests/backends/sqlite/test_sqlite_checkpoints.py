"""Size of the write-ahead log."""
# ruff: noqa: ASYNC240 -- a test may wait for the disk

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from realtime_bridge.model.event import Event
from realtime_bridge_backends.sqlite import SQLiteBackend, SQLiteTiming
from realtime_bridge_backends.sqlite.database import JOURNAL_BYTES

WRITERS, PARTS = 8, 8
LARGE_PARTS = 20
TIMEOUT = 30.0


async def write_a_part(log: SQLiteBackend) -> None:
    """Write less than the 4 MiB after which a process writes its own part back."""
    for _ in range(PARTS):
        await log.append([Event(channel="job.7", event="part", data="x" * 200_000)])


@pytest.mark.parametrize("has_reader", [False, True], ids=["alone", "beside_a_long_read"])
async def test_listening_process_writes_back_what_others_wrote(
    tmp_path: Path, *, has_reader: bool
) -> None:
    path = tmp_path / "log.db"
    wal = Path(f"{path}-wal")
    timing = SQLiteTiming(expiry_seconds=0.5)
    async with SQLiteBackend(path, timing=timing), AsyncExitStack() as stack:
        # Opened before: SQLite itself writes back when a connection is opened.
        writers = [await stack.enter_async_context(SQLiteBackend(path)) for _ in range(WRITERS)]
        reader = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
        if has_reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchall()
        for writer in writers:
            await write_a_part(writer)
        if has_reader:
            assert wal.stat().st_size > JOURNAL_BYTES
            reader.execute("COMMIT")
        async with asyncio.timeout(TIMEOUT):
            while wal.stat().st_size > JOURNAL_BYTES:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_large_log_is_written_back_soon_after_a_reader_was_in_the_way(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log.db"
    wal = Path(f"{path}-wal")
    async with SQLiteBackend(path) as log:

        async def write(size: int) -> None:
            await log.append([Event(channel="job.7", event="part", data="x" * size)])

        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchall()
            for _ in range(LARGE_PARTS):
                await write(900_000)
            # The log is written back behind each answer: this one comes after the last.
            await write(1)
            assert wal.stat().st_size > JOURNAL_BYTES
            reader.execute("COMMIT")
        await write(300_000)
        await write(1)
        assert wal.stat().st_size <= JOURNAL_BYTES


async def test_opening_of_an_existing_file_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    wal = Path(f"{path}-wal")
    async with SQLiteBackend(path) as log:
        await write_a_part(log)
        size = wal.stat().st_size
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            # Another program has the write lock: no opening waits for it.
            other.execute("BEGIN IMMEDIATE")
            async with SQLiteBackend(path) as second:
                assert (await second.positions(["job.7"]))["job.7"].offset == PARTS
                other.execute("ROLLBACK")
        assert wal.stat().st_size == size
