"""Opening and leaving of the file: its schema, and the turn of all epochs after a loss."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model import ids
from realtime_bridge_backends.sqlite.database import connect, wait_for_lock, writing
from realtime_bridge_backends.sqlite.errors import is_final
from realtime_bridge_backends.sqlite.lock_file import LockFile, Progress

APPLICATION_ID, VERSION = 0x72746272, 1
"""Marks of this library's files, in the header of the database."""

FILE_MODE = 0o600

_SETTINGS = "SELECT prefix, lineage, commits, boot, clean FROM settings"


def open_file(path: Path, prefix: str, busy_seconds: float) -> tuple[sqlite3.Connection, LockFile]:
    """Open the file, as the first process or beside others, and keep it locked.

    Raises:
        ConfigurationError: the file is another application's or prefix's, or newer.
        sqlite3.Error: SQLite cannot open it.
        OSError: the file, or the lock beside it, cannot be created.

    """
    _create(path)
    lock = LockFile(path)
    try:
        return _open_locked(path, prefix, lock, busy_seconds), lock
    except BaseException as error:
        if is_final(error):
            lock.remove_unused()
        lock.close()
        raise


def leave(connection: sqlite3.Connection, lock: LockFile, busy_seconds: float) -> None:
    """Mark the file as complete, if this is the last process that uses it."""
    if not lock.try_lock(exclusive=True):
        return
    with writing(connection, busy_seconds):
        connection.execute("UPDATE settings SET clean = 1")
        ((lineage, commits),) = connection.execute("SELECT lineage, commits FROM settings")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    lock.write(Progress(lineage, commits))


def current_boot() -> str:
    """Return the name of this run of the operating system; empty if there is none."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        with suppress(OSError, subprocess.SubprocessError):
            return subprocess.check_output(command, text=True, timeout=5).strip()  # noqa: S603 -- constant
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def _create(path: Path) -> None:
    # Before SQLite does: it would give the file the mode of the umask. An existing file is not
    # opened: the close would drop the locks of this process's other connections.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))


def _open_locked(
    path: Path, prefix: str, lock: LockFile, busy_seconds: float
) -> sqlite3.Connection:
    deadline = time.monotonic() + busy_seconds
    while (connection := _try_open(path, prefix, lock, busy_seconds)) is None:
        if time.monotonic() >= deadline:
            raise TimeoutError(f"another process opens it for over {busy_seconds:g} s")
        wait_for_lock()
    return connection


def _try_open(
    path: Path, prefix: str, lock: LockFile, busy_seconds: float
) -> sqlite3.Connection | None:
    """Return a connection to the file; None while another process opens or leaves it."""
    is_first = lock.try_lock(exclusive=True)
    if not is_first and not lock.try_lock(exclusive=False):
        return None
    connection = connect(path, busy_seconds, check=lambda new: _check_header(new, path))
    try:
        if is_first:
            _prepare(connection, lock, path, prefix, busy_seconds)
            # Another process may come first in this change; then it finds nothing to do.
            is_open = lock.try_lock(exclusive=False)
        else:
            # The process that had the lock before may have crashed while it prepared the file.
            is_open = _is_prepared(connection, path, prefix)
    except BaseException:
        connection.close()
        raise
    if not is_open:
        connection.close()
        lock.unlock()
        return None
    return connection


def _check_header(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is a log, or empty, before anything is changed in it."""
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    ((pages,),) = connection.execute("PRAGMA page_count")
    if application != APPLICATION_ID and (application or pages):
        ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_schema")
        if application or version or tables:
            raise ConfigurationError(
                f"{path} is the database of another application: choose a path of its own"
            )
    if version > VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer realtime-bridge (schema {version}): upgrade this one"
        )


def _is_prepared(connection: sqlite3.Connection, path: Path, prefix: str) -> bool:
    ((version,),) = connection.execute("PRAGMA user_version")
    if version != VERSION:
        return False
    ((other, _, _, boot, clean),) = connection.execute(_SETTINGS)
    _check_prefix(path, other, prefix)
    return bool(boot == current_boot() and not clean)


def _check_prefix(path: Path, other: str, prefix: str) -> None:
    if other != prefix:
        raise ConfigurationError(
            f"{path} belongs to the prefix {other!r}, and this one is {prefix!r}: choose another "
            "path, or the same prefix"
        )


def _prepare(
    connection: sqlite3.Connection, lock: LockFile, path: Path, prefix: str, busy_seconds: float
) -> None:
    """Create the schema, or compare the file with the last process's; then mark it as in use."""
    # Durable before the first append: else a power loss could lose this mark together with the
    # appends, and the file would look as if it had been left in order.
    connection.execute("PRAGMA synchronous = FULL")
    with writing(connection, busy_seconds):
        ((version,),) = connection.execute("PRAGMA user_version")
        if not version:
            _create_schema(connection, prefix)
        ((other, lineage, commits, boot, clean),) = connection.execute(_SETTINGS)
        _check_prefix(path, other, prefix)
        this_boot = current_boot()
        was_interrupted = not clean and boot != this_boot
        if was_interrupted or _is_restored(lock.read(), Progress(lineage, commits)):
            lineage = turn(connection)
        connection.execute("UPDATE settings SET boot = ?, clean = 0", (this_boot,))
    # After the commit: a crash between the two turns the epochs once more, which is harmless.
    lock.write(Progress(lineage, commits))
    connection.execute("PRAGMA synchronous = NORMAL")


def _is_restored(last: Progress | None, progress: Progress) -> bool:
    """Return whether the file is older than the lock file, or came without it."""
    if last is None:
        return progress.commits > 0
    return last.lineage != progress.lineage or last.commits > progress.commits


def _create_schema(connection: sqlite3.Connection, prefix: str) -> None:
    statement = ""
    for line in files(__package__).joinpath("schema.sql").read_text("utf-8").splitlines(True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute(
        "INSERT INTO settings (single, prefix, lineage) VALUES (1, ?, ?)", (prefix, ids.nonce())
    )


def turn(connection: sqlite3.Connection) -> str:
    """Begin a new epoch of every channel, and return the new lineage.

    Offsets may have been lost that clients have seen. Tops and keys stay, events and ids do not.
    """
    lineage = ids.nonce()
    connection.create_function("new_epoch", 0, ids.epoch)
    connection.execute("DELETE FROM events")
    connection.execute("DELETE FROM ids")
    connection.execute(
        "UPDATE channels SET epoch = new_epoch(), state = min(state, 1) * 2, first = top + 1, "
        "bytes = 0, repeated = 0, "
        "changed = (SELECT commits FROM settings), lease_at = lease_at * 0.0"
    )
    connection.execute("UPDATE latest SET expires = 0.0 WHERE expires IS NOT NULL")
    connection.execute("UPDATE settings SET lineage = ?", (lineage,))
    return lineage
