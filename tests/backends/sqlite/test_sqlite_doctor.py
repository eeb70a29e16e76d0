"""Checks of the file by `realtime-bridge doctor`: each trouble has its line and a hint."""

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket

import pytest

from realtime_bridge.backend.component import CheckResult
from realtime_bridge_backends.sqlite import SQLiteBackend
from realtime_bridge_backends.sqlite.bells import folder_of
from realtime_bridge_backends.sqlite.doctor import (
    LARGE_WAL_BYTES,
    check_bells,
    check_filesystem,
    check_lock,
    check_mode,
    check_space,
    check_wal,
    run_checks,
)
from realtime_bridge_backends.sqlite.filesystems import Mount


@pytest.fixture
async def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """Return the path of an empty log; its bells are in a folder that ends with the test."""
    with tempfile.TemporaryDirectory(prefix="rb") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        async with SQLiteBackend(tmp_path / "log.db"):
            pass
        yield tmp_path / "log.db"


def trouble(results: Sequence[CheckResult]) -> dict[str, str]:
    """Return the checks that are not in order, and that each has a hint."""
    found = [result for result in results if result.status != "ok"]
    assert all(result.hint for result in found), found
    return {result.check: result.status for result in found}


async def test_log_in_order_has_all_lines(path: Path) -> None:
    async with SQLiteBackend(path) as log:
        results = await log.check()
    assert trouble(results) == {}
    names = [result.check.removeprefix("sqlite ") for result in results]
    assert names == [
        *("file system", "mode", "write-ahead log", "disk", "version", "integrity"),
        *("write lock", "bells", "open in"),
    ]


def test_file_system_of_a_program_is_a_warning() -> None:
    assert check_filesystem(Mount("/data", "virtiofs")).status == "warning"
    assert check_filesystem(Mount("/data", "ext4")).status == "ok"
    assert check_filesystem(None).status == "ok"


def test_file_that_everyone_reads_is_a_warning(path: Path) -> None:
    path.chmod(0o644)
    assert "chmod o-r" in (check_mode(path).hint or "")


def test_large_write_ahead_log_is_a_warning(path: Path) -> None:
    assert check_wal(path).status == "ok"
    with path.with_name("log.db-wal").open("wb") as file:
        file.truncate(LARGE_WAL_BYTES + 1)
    assert check_wal(path).status == "warning"


def test_little_free_space_is_a_warning(path: Path) -> None:
    size = path.stat().st_size
    assert check_space(path, 10 * size).status == "ok"
    assert check_space(path, 10 * size - 1).status == "warning"


def test_damaged_file_is_a_failure(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    assert "failed" in trouble(run_checks(path)).values()


def test_file_that_is_no_database_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"no database" * 1_000)
    assert trouble(run_checks(tmp_path / "log.db"))["sqlite file"] == "failed"


def test_lock_that_a_process_keeps_is_a_failure(path: Path) -> None:
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as holder,
        closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection,
    ):
        assert check_lock(connection).status == "ok"
        holder.execute("BEGIN IMMEDIATE")
        assert check_lock(connection).status == "failed"


def test_bells_of_live_and_ended_listeners_are_counted(path: Path) -> None:
    folder = folder_of(path)
    folder.mkdir(mode=0o700, exist_ok=True)
    with socket(AF_UNIX, SOCK_DGRAM) as live, socket(AF_UNIX, SOCK_DGRAM) as ended:
        live.bind(str(folder / "live"))
        ended.bind(str(folder / "ended"))
        ended.close()
        assert check_bells(path).detail == "rung: 1 listeners live, 1 removed"
        assert check_bells(path).detail == "rung: 1 listeners live, 0 removed"
        assert live.recv(1)


def test_folder_of_bells_that_is_a_file_is_a_warning(path: Path) -> None:
    folder_of(path).touch()
    assert check_bells(path).status == "warning"
