"""Life of the file: opening, losses after which epochs turn, and files of others."""
# ruff: noqa: ASYNC240 -- a test may wait for the disk

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from realtime_bridge.errors import ConfigurationError, PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.sqlite import SQLiteBackend

CHANNEL = "job.7"
FILES = ("", "-wal", "-shm", "-lock")


async def append(path: Path, count: int = 3) -> Position:
    """Append events in a process that leaves in order, and return the top."""
    async with SQLiteBackend(path) as log:
        *_, receipt = await log.append(numbered(CHANNEL, count))
    assert receipt.position
    return receipt.position


async def top(path: Path) -> Position:
    async with SQLiteBackend(path) as log:
        return (await log.positions([CHANNEL]))[CHANNEL]


def execute(path: Path, *statements: str) -> None:
    """Change a file as another program."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def copy_files(source: Path, target: Path, names: tuple[str, ...] = FILES) -> None:
    for name in names:
        if Path(f"{source}{name}").exists():
            shutil.copyfile(f"{source}{name}", f"{target}{name}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


async def test_file_is_private_and_continues_after_a_restart(path: Path) -> None:
    before = await append(path)
    assert path.stat().st_mode & 0o777 == 0o600
    async with SQLiteBackend(path) as log:
        page = await log.read(CHANNEL, Position(before.epoch, 0))
        assert isinstance(page, Page)
        assert len(page.events) == 3
        (receipt,) = await log.append(numbered(CHANNEL, 1))
        assert receipt.position == Position(before.epoch, 4)
        assert {f.stat().st_mode & 0o777 for f in path.parent.glob("log.db-*")} <= {0o600, 0o700}


async def test_killed_process_keeps_the_epoch(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with SQLiteBackend(path) as log:
        (receipt,) = await log.append(numbered(CHANNEL, 1))
        copy_files(path, copy)  # the files as they are after `kill -9`
    assert await top(copy) == receipt.position


async def test_power_loss_turns_epochs_and_keeps_tops_and_keys(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with SQLiteBackend(path) as log:
        keyed = Event(channel=CHANNEL, event="job.step", data=1, key="k")
        *_, receipt = await log.append([*numbered(CHANNEL, 3), keyed])
        copy_files(path, copy)
    execute(copy, "UPDATE settings SET boot = 'another'")
    before = receipt.position
    assert before
    async with SQLiteBackend(copy) as log:
        answer = await log.read(CHANNEL, before)
        assert isinstance(answer, Reset)
        assert (answer.reason, answer.top.offset) == ("epoch", 4)
        page = await log.latest(CHANNEL)
        assert [(e.data, e.position) for e in page.events] == [(1, Position(answer.top.epoch, 4))]
        (receipt,) = await log.append([keyed])  # ids are not known: it may have been lost
        assert receipt.position == Position(answer.top.epoch, 5)
    assert (await top(copy)).epoch == answer.top.epoch  # one turn for each loss


async def test_power_loss_while_nothing_was_open_keeps_the_epoch(path: Path) -> None:
    before = await append(path)
    execute(path, "UPDATE settings SET boot = 'another'")
    assert await top(path) == before


async def test_leases_run_out_at_a_turn(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    will = {"event": "run.lost", "data": None}
    async with SQLiteBackend(path) as log:
        owned = {"attempt": "A", "take": "always", "lease": 60, "will": will}
        event = Event(channel=CHANNEL, event="run", data=1, key="k", **owned)  # type: ignore[arg-type]
        await log.append([event])
        copy_files(path, copy)
    execute(copy, "UPDATE settings SET boot = 'another'")
    async with SQLiteBackend(copy) as log:
        page = await log.latest(CHANNEL, key="k")
    assert [event.event for event in page.events] == ["run", "run.lost"]


def restore_copy(path: Path, backup: Path) -> None:
    for name in ("-wal", "-shm"):
        Path(f"{path}{name}").unlink(missing_ok=True)
    shutil.copyfile(backup, path)


def restore_in_place(path: Path, backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)


def restore_dump(path: Path, backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as source:
        dump = "\n".join(source.iterdump())
        header = [source.execute(f"PRAGMA {name}").fetchone()[0] for name in HEADER]
    for name in ("", "-wal", "-shm"):
        Path(f"{path}{name}").unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as target:
        target.executescript(dump)
        for name, value in zip(HEADER, header, strict=True):
            target.execute(f"PRAGMA {name} = {value}")


HEADER = ("application_id", "user_version")


@pytest.mark.parametrize("ending", ["clean", "killed"])
@pytest.mark.parametrize("restore", [restore_copy, restore_in_place, restore_dump])
async def test_restored_backup_turns_epochs(
    path: Path, tmp_path: Path, restore: Callable[[Path, Path], None], ending: str
) -> None:
    backup, lost = tmp_path / "backup.db", tmp_path / "lost.db"
    async with SQLiteBackend(path) as log:
        await log.append(numbered(CHANNEL, 3))
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        *_, receipt = await log.append(numbered(CHANNEL, 1))
        copy_files(path, lost)
    file = path if ending == "clean" else lost
    restore(file, backup)
    before = receipt.position
    assert before
    async with SQLiteBackend(file) as log:
        (receipt,) = await log.append(numbered(CHANNEL, 1))
        assert receipt.position
        assert receipt.position.offset == before.offset
        assert receipt.position.epoch != before.epoch
        answer = await log.read(CHANNEL, before)
        assert isinstance(answer, Reset)


async def test_copy_without_its_lock_file_turns_epochs(path: Path, tmp_path: Path) -> None:
    before = await append(path)
    copy_files(path, tmp_path / "copy.db", ("",))
    assert (await top(tmp_path / "copy.db")).epoch != before.epoch
    assert await top(path) == before


async def test_deleted_file_begins_again(path: Path) -> None:
    before = await append(path)
    path.unlink()
    after = await top(path)
    assert after.epoch != before.epoch
    assert after.offset == 0


async def test_crash_between_schema_and_lock_file_is_no_copy(path: Path) -> None:
    async with SQLiteBackend(path):
        pass
    Path(f"{path}-lock").unlink()
    async with SQLiteBackend(path) as log:
        (receipt,) = await log.append(numbered(CHANNEL, 1))
        assert receipt.position


async def test_file_of_another_prefix_is_refused(path: Path) -> None:
    await append(path)
    with pytest.raises(ConfigurationError, match="belongs to the prefix 'realtime'"):
        async with SQLiteBackend(path, prefix="other"):
            pass
    async with SQLiteBackend(path):
        with pytest.raises(ConfigurationError, match="belongs to the prefix 'realtime'"):
            async with SQLiteBackend(path, prefix="other"):
                pass


async def test_file_of_another_application_is_unchanged(path: Path) -> None:
    execute(path, "CREATE TABLE theirs (x)")
    content = path.read_bytes()
    with pytest.raises(ConfigurationError, match="database of another application"):
        async with SQLiteBackend(path):
            pass
    assert path.read_bytes() == content
    assert [*path.parent.iterdir()] == [path]


async def test_newer_file_is_refused(path: Path) -> None:
    await append(path)
    execute(path, "PRAGMA user_version = 9")
    with pytest.raises(ConfigurationError, match=r"newer realtime-bridge \(schema 9\)"):
        async with SQLiteBackend(path):
            pass


async def test_file_that_is_no_database_is_a_final_error(path: Path) -> None:
    path.write_bytes(b"no database " * 1_000)
    with pytest.raises(PublishError, match="choose another path; if it was this log") as raised:
        async with SQLiteBackend(path):
            pass
    assert not raised.value.retryable
    assert [*path.parent.iterdir()] == [path]


async def test_relative_path_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="relative"):
        SQLiteBackend("log.db")


async def test_log_that_is_not_entered_refuses(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not open"):
        await SQLiteBackend(path).append(numbered(CHANNEL, 1))
