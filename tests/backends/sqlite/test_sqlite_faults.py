"""Faults of the file and the disk, while processes use the log."""
# ruff: noqa: ASYNC240 -- a test may wait for the disk

import asyncio
import resource
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.errors import BackendUnavailableError, PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.sqlite import SQLiteBackend, SQLiteTiming
from realtime_bridge_backends.sqlite.bells import folder_of
from realtime_bridge_backends.sqlite.errors import to_publish_error
from realtime_bridge_backends.sqlite.listener import SQLiteListener

CHANNEL = "job.7"
TIMEOUT = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def copy_files(source: Path, target: Path) -> None:
    """Copy the files of a running process, as they are after a kill."""
    for ending in ("", "-wal", "-lock"):
        shutil.copyfile(f"{source}{ending}", f"{target}{ending}")


async def top_of(path: Path) -> Position:
    async with SQLiteBackend(path) as log:
        return (await log.positions([CHANNEL]))[CHANNEL]


async def test_full_disk_fails_retryably_and_reads_go_on(path: Path) -> None:
    async with SQLiteBackend(path) as log:
        *_, last = await log.append(numbered(CHANNEL, 3))
        wal = Path(f"{path}-wal").stat().st_size
        former = resource.getrlimit(resource.RLIMIT_FSIZE)
        # The kernel refuses to write beyond this size of a file, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 50_000, former[1]))
        try:
            with pytest.raises(BackendUnavailableError, match="space on it") as raised:
                await log.append([Event(channel=CHANNEL, event="e", data="x" * 100_000)])
            assert raised.value.retryable
            assert (await log.positions([CHANNEL]))[CHANNEL] == last.position
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, former)
        # A failed commit is no lost one: after a kill, the epoch goes on.
        copy_files(path, path.with_name("killed.db"))
        assert await top_of(path.with_name("killed.db")) == last.position
        (receipt,) = await log.append(numbered(CHANNEL, 1))
        assert receipt.position
        assert receipt.position.offset == 4


def test_error_of_a_full_database_names_the_disk(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA max_page_count = 3")
        connection.execute("CREATE TABLE t (x)")
        with pytest.raises(sqlite3.Error) as full:
            connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    error = to_publish_error(full.value, "the log")
    assert (error.retryable, "free space on the disk" in str(error)) == (True, True)


async def test_write_lock_of_another_program_is_a_retryable_error(path: Path) -> None:
    async with SQLiteBackend(path, timing=SQLiteTiming(busy_seconds=0.05)) as log:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BackendUnavailableError, match="keeps the write lock"):
                await log.append(numbered(CHANNEL, 1))
            other.execute("ROLLBACK")
        (receipt,) = await log.append(numbered(CHANNEL, 1))
        assert receipt.position
        assert receipt.position.offset == 1


async def test_failure_in_a_group_stores_none_of_it(path: Path) -> None:
    good = numbered(CHANNEL, 2)
    async with SQLiteBackend(path, timing=SQLiteTiming(busy_seconds=2)) as log:
        # An event that SQLite cannot store: an id of half a surrogate, which no check lets pass.
        bad = Event.internal(CHANNEL, "e", b"1", id="\ud800")
        results = await asyncio.gather(
            *(log.append([event]) for event in (good[0], bad, good[1])), return_exceptions=True
        )
        assert any(isinstance(result, PublishError) for result in results)
        receipts = [await log.append([event]) for event in good]
    assert sorted(r.position.offset for (r,) in receipts if r.position) == [1, 2]


async def append_at_once(log: SQLiteBackend, *batches: list[Event]) -> list[Receipt]:
    """Append batches in one turn of the loop, and so in one group."""
    groups = await asyncio.gather(*map(log.append, batches))
    return [receipt for receipts in groups for receipt in receipts]


async def test_repeated_event_in_a_group_changes_nothing_for_the_others(path: Path) -> None:
    plain, *others = numbered(CHANNEL, 10)
    async with SQLiteBackend(path) as log:
        (first,) = await log.append([plain])
        batches = [others[:1], [plain], others[1:5], others[5:], others[:1]]
        receipts = await append_at_once(log, *batches)
        assert first.position
        page = await log.read(CHANNEL, Position(first.position.epoch, 0))
    assert isinstance(page, Page)
    assert [receipt.id for receipt in receipts if receipt.duplicate] == [plain.id, others[0].id]
    assert receipts[1].position == first.position
    assert list(page.events) == [one.with_position(got.position, got.time or 0) for one, got in
                                 zip([plain, *others], page.events, strict=True)]  # fmt: skip


async def test_repeated_event_of_a_former_owner_is_a_duplicate_in_a_group(path: Path) -> None:
    key: dict[str, Any] = {"channel": CHANNEL, "event": "e", "data": [1], "key": "k"}
    first, part, second = (
        Event(**key, attempt="A", take="always"),
        Event(**key, attempt="A", fold="append"),
        Event(**key, attempt="B", take="always"),
    )
    async with SQLiteBackend(path) as log:
        await log.append([first, part, second])
        *_, receipt = await append_at_once(log, numbered(CHANNEL, 3), [part])
    assert (receipt.duplicate, receipt.refused) == (True, None)


async def test_each_append_of_one_turn_has_the_limit_of_time(path: Path) -> None:
    timing = SQLiteTiming(busy_seconds=20.0, call_seconds=0.05)
    async with SQLiteBackend(path, timing=timing) as log:
        await log.append(numbered(CHANNEL, 1))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            appends = (log.append(numbered(CHANNEL, 1)) for _ in range(3))
            results = await asyncio.gather(*appends, return_exceptions=True)
            other.execute("ROLLBACK")
    assert [type(error) for error in results] == [BackendUnavailableError] * 3
    assert {"no answer in time" in str(error) for error in results} == {True}


async def test_corrupt_file_is_a_final_error_with_one_thing_to_do(path: Path) -> None:
    async with SQLiteBackend(path) as log:
        await log.append(numbered(CHANNEL, 500))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))
    with pytest.raises(PublishError, match="move the file away") as raised:
        async with SQLiteBackend(path) as log:
            await log.append(numbered(CHANNEL, 1))
    assert not raised.value.retryable


async def test_deleted_file_is_replaced_and_the_feed_reports_a_gap(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    timing = SQLiteTiming(expiry_seconds=0.05, poll_seconds=0.02)
    async with SQLiteBackend(path, timing=timing) as log, log.listen() as listener:
        await listener.subscribe([CHANNEL])
        before = (await log.positions([CHANNEL]))[CHANNEL]
        for name in ("", "-wal", "-shm"):
            Path(f"{path}{name}").unlink(missing_ok=True)
        stream = aiter(listener)
        async with asyncio.timeout(TIMEOUT):
            while await anext(stream) != FeedInterrupted(connected=True):
                pass
        assert path.exists()
        after = (await log.positions([CHANNEL]))[CHANNEL]
        assert after.epoch != before.epoch
        (event,) = numbered(CHANNEL, 1)
        await log.append([event])
        async with asyncio.timeout(TIMEOUT):
            while not (events := await anext(stream)) or isinstance(events, FeedInterrupted):
                pass
        assert [each.id for each in events] == [event.id]
    assert "log replaced" in caplog.text


async def test_bell_of_an_ended_process_is_removed(path: Path) -> None:
    async with SQLiteBackend(path) as log, log.listen():
        bells = folder_of(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
            stale.bind(str(bells / "stale"))
        await log.append(numbered(CHANNEL, 1))
        await log.append(numbered(CHANNEL, 1))
        assert len(list(bells.iterdir())) == 1


async def test_bell_rings_after_the_commit(path: Path) -> None:
    # A poll would find the events too, and much later.
    timing = SQLiteTiming(poll_seconds=1_000)
    async with (
        SQLiteBackend(path, timing=timing) as log,
        SQLiteBackend(path) as other,
        log.listen() as listener,
    ):
        await listener.subscribe([CHANNEL])
        stream = aiter(listener)
        for event in numbered(CHANNEL, 200):
            await other.append([event])
            async with asyncio.timeout(TIMEOUT):
                events = await anext(stream)
            assert not isinstance(events, FeedInterrupted)
            assert [each.id for each in events] == [event.id]


class InterruptedConnection:
    """Connection that reads, and lets another process commit after its first read of events."""

    def __init__(self, path: Path, commit: Callable[[], object]) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._commit: Callable[[], object] | None = commit

    def execute(self, statement: str, *arguments: Any) -> Any:
        cursor = self._connection.execute(statement, *arguments)
        if "FROM events" not in statement or self._commit is None:
            return cursor
        rows = cursor.fetchall()
        commit, self._commit = self._commit, None
        commit()
        return rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class InterruptedSession:
    """Session whose reads are those of an interrupted connection."""

    is_over = False

    def __init__(self, connection: InterruptedConnection) -> None:
        self._connection: Any = connection

    async def read(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        return await asyncio.to_thread(work, self._connection)


async def test_commit_during_a_read_is_read_next(path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with SQLiteBackend(path) as log:
        await log.positions(["one", "two"])

        def commit() -> None:
            appending = log.append(numbered("two", 1))
            asyncio.run_coroutine_threadsafe(appending, loop).result(TIMEOUT)

        session: Any = InterruptedSession(connection := InterruptedConnection(path, commit))

        async def open_session() -> Any:
            return session

        listener = SQLiteListener(
            path,
            open_session=open_session,
            open_channels=log.positions,
            unreadable=UnreadableEvents("the log"),
            poll_seconds=0.05,
        )
        async with listener, asyncio.timeout(TIMEOUT):
            await listener.subscribe(["one", "two"])
            await log.append(numbered("one", 1))
            arrivals: set[str] = set()
            async for events in listener:
                assert not isinstance(events, FeedInterrupted)
                arrivals |= {event.channel for event in events}
                if arrivals == {"one", "two"}:
                    break
        connection.close()
