"""Checks of a log's file, for `realtime-bridge doctor`."""

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket
from typing import Literal

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.model import ids
from realtime_bridge_backends.sqlite.bells import Bells, folder_of, make_folder
from realtime_bridge_backends.sqlite.database import connect, retry_while_busy, roll_back
from realtime_bridge_backends.sqlite.filesystems import Mount, mount_of, read_mountinfo

RING_SECONDS = 1.0
"""Longest wait for our own bell."""

BUSY_SECONDS = 2.0
"""Longest wait for the write lock, of each try."""

LOCK_TRIES = 10
SLOW_LOCK_SECONDS = 0.05

LARGE_WAL_BYTES = 64 * 1024 * 1024
"""Size that the write-ahead log exceeds only while a reader keeps a transaction open."""

LARGEST_CHECKED_BYTES = 64 * 1024 * 1024
"""Largest file that is read as a whole."""

FREE_FACTOR = 10
"""Free space in sizes of the file, below which the disk may soon be full."""


def run_checks(path: Path) -> list[CheckResult]:
    """Return the results for the file at a path."""
    if not path.exists():
        return [_result("file", "ok", f"{path} is created on use")]
    results = [check_filesystem(mount_of(path.resolve(), read_mountinfo())), check_mode(path)]
    results += [check_wal(path), check_space(path, shutil.disk_usage(path.parent).free)]
    try:
        with closing(connect(path, BUSY_SECONDS)) as connection:
            results += _check_database(connection, path)
    except sqlite3.Error as error:
        hint = "Choose another path; or stop all processes and move the file away"
        results.append(_result("file", "failed", f"{path}: {error}", hint))
    results += [check_bells(path), check_users(path)]
    return results


def check_filesystem(mount: Mount | None) -> CheckResult:
    """Report the file system; those that are known to fail are refused earlier."""
    if mount and mount.is_doubtful:
        hint = "Move the file to a disk of this machine, if its processes miss events or locks"
        return _result("file system", "warning", f"{mount}: it depends on its program", hint)
    return _result("file system", "ok", str(mount or "unknown on this system"))


def check_mode(path: Path) -> CheckResult:
    """Report the mode of the file, which has the data of all users."""
    mode = stat.S_IMODE(path.stat().st_mode)
    detail = f"{mode:o} of {path}"
    if mode & stat.S_IROTH:
        hint = f"Run `chmod o-r {path}`, unless everyone on this machine may read all events"
        return _result("mode", "warning", f"{detail}: readable by everyone", hint)
    return _result("mode", "ok", detail)


def check_wal(path: Path) -> CheckResult:
    """Report the size of the write-ahead log."""
    size = 0
    with suppress(FileNotFoundError):
        size = path.with_name(f"{path.name}-wal").stat().st_size
    detail = f"{_mib(size)} MiB"
    if size > LARGE_WAL_BYTES:
        hint = "End the program that keeps a transaction open: a backup, or a shell"
        return _result("write-ahead log", "warning", detail, hint)
    return _result("write-ahead log", "ok", detail)


def check_space(path: Path, free: int) -> CheckResult:
    """Report the free space of the disk.

    Args:
        path: path of the database.
        free: free bytes of its disk.

    """
    size = path.stat().st_size
    detail = f"{_mib(free)} MiB free; the file has {_mib(size)} MiB"
    if free < FREE_FACTOR * size:
        hint = "Free space: publishes fail on a full disk"
        return _result("disk", "warning", detail, hint)
    return _result("disk", "ok", detail)


def check_bells(path: Path) -> CheckResult:
    """Ring all bells, one of our own among them, and report how many listeners are there."""
    folder = folder_of(path)
    own = folder / f"{os.getpid()}-{ids.nonce()}"
    try:
        make_folder(path)
        before = len(list(folder.iterdir()))
        with closing(Bells(path)) as bells, socket(AF_UNIX, SOCK_DGRAM) as listener:
            listener.bind(str(own))
            try:
                listener.settimeout(RING_SECONDS)
                bells.ring()  # it removes the bells of processes that are gone
                listener.recv(1)
            finally:
                own.unlink()
        live = len(list(folder.iterdir()))
    except OSError as error:
        hint = f"Give {folder} to this user; until then listeners look every 250 ms"
        return _result("bells", "warning", f"{folder}: {error}", hint)
    return _result("bells", "ok", f"rung: {live} listeners live, {before - live} removed")


def check_users(path: Path) -> CheckResult:
    """Report the processes that have the file open, as far as this user may see them."""
    names = {str(path), str(path.resolve())}
    users = sorted({pid for pid, name in _open_files() if name in names} - {os.getpid()})
    listed = ", ".join(map(str, users)) or "no other process of this user"
    return _result("open in", "ok", listed)


def _check_database(connection: sqlite3.Connection, path: Path) -> Iterator[CheckResult]:
    yield _result("version", "ok", sqlite3.sqlite_version)
    yield _check_integrity(connection, path)
    yield check_lock(connection)


def _check_integrity(connection: sqlite3.Connection, path: Path) -> CheckResult:
    if path.stat().st_size > LARGEST_CHECKED_BYTES:
        detail = f"not checked: the file is over {_mib(LARGEST_CHECKED_BYTES)} MiB"
        return _result("integrity", "ok", detail)
    ((first,), *_) = connection.execute("PRAGMA quick_check").fetchall()
    if first != "ok":
        hint = "Stop all processes and move the file away, or restore a copy"
        return _result("integrity", "failed", str(first), hint)
    return _result("integrity", "ok", "no damage")


def check_lock(connection: sqlite3.Connection) -> CheckResult:
    """Report the longest of some waits for the write lock."""
    slowest = 0.0
    for _ in range(LOCK_TRIES):
        started = time.monotonic()
        try:
            retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"), BUSY_SECONDS)
        except sqlite3.OperationalError as error:
            hint = "End the process that keeps it: the check `open in` lists those of this user"
            return _result("write lock", "failed", f"{error} for {BUSY_SECONDS:g} s", hint)
        roll_back(connection)
        slowest = max(slowest, time.monotonic() - started)
    detail = f"{slowest * 1_000:.1f} ms, the longest of {LOCK_TRIES}"
    if slowest > SLOW_LOCK_SECONDS:
        hint = "Publish less at once, by `publish_many`, or choose Redis"
        return _result("write lock", "warning", detail, hint)
    return _result("write lock", "ok", detail)


def _open_files() -> Iterator[tuple[int, str]]:
    """Yield process ids and their open files, from /proc; other systems have none."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            for file in (process / "fd").iterdir():
                with suppress(OSError):
                    # `readlink` touches no file: a `stat` may wait for a dead network.
                    yield int(process.name), str(file.readlink())


def _result(
    name: str,
    status: Literal["ok", "warning", "failed"],
    detail: str,
    hint: str | None = None,
) -> CheckResult:
    return CheckResult(check=f"sqlite {name}", status=status, detail=detail, hint=hint)


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.0f}"
