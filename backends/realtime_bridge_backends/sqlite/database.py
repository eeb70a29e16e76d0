"""Connections to the file, and statements that wait for its locks."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from realtime_bridge.backend.native_threads import sleep
from realtime_bridge_backends.sqlite.errors import is_busy

CACHED_STATEMENTS = 256

PAGE_BYTES = 8192

JOURNAL_BYTES = 16 * 1024 * 1024
"""Size to which SQLite shortens the write-ahead log."""

SHORTEST_WAIT, LONGEST_WAIT = 0.0005, 0.003
"""Seconds between two attempts to get a lock. SQLite's own handler waits up to 100 ms, and a
process that always comes at the wrong moment starves."""

T = TypeVar("T")


def connect(
    path: Path, busy_seconds: float, *, check: Callable[[sqlite3.Connection], object] | None = None
) -> sqlite3.Connection:
    """Open a connection to an existing file, in the mode with a write-ahead log.

    Args:
        path: the path of the file.
        busy_seconds: longest wait for a lock.
        check: checks the file before anything in it is changed.

    Raises:
        sqlite3.Error: the file cannot be opened, or is no database.

    """
    # `mode=rw`: a file that was deleted meanwhile must not be created without its owner's mode.
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        cached_statements=CACHED_STATEMENTS,
    )
    try:
        if check is not None:
            retry_while_busy(lambda: check(connection), busy_seconds)
        execute = partial(_execute, connection, busy_seconds)
        if execute("PRAGMA page_count") == [(0,)]:
            # Not in an existing file: each opening would wait for the write lock, and write.
            execute(f"PRAGMA page_size = {PAGE_BYTES}")
            execute("PRAGMA auto_vacuum = INCREMENTAL")
        # Two processes that start together fail here with "database is locked".
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute("PRAGMA wal_autocheckpoint = 0")
        execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _execute(connection: sqlite3.Connection, busy_seconds: float, statement: str) -> list[Any]:
    """Return the rows of a statement, when no other connection holds the lock."""
    return retry_while_busy(lambda: connection.execute(statement).fetchall(), busy_seconds)


def retry_while_busy(call: Callable[[], T], seconds: float) -> T:
    """Call until no other connection holds the lock, and return the result.

    Raises:
        sqlite3.Error: the error of the call; after these seconds that of the lock.

    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        wait_for_lock()


def wait_for_lock() -> None:
    """Wait a short random time before the next attempt."""
    sleep(random.uniform(SHORTEST_WAIT, LONGEST_WAIT))  # noqa: S311 -- jitter


@contextmanager
def writing(connection: sqlite3.Connection, busy_seconds: float) -> Iterator[None]:
    """Run statements in one transaction that has the write lock from its beginning."""
    retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"), busy_seconds)
    with _ending(connection):
        yield


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """Run statements on one state of the file."""
    connection.execute("BEGIN")
    with _ending(connection):
        yield


@contextmanager
def _ending(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """End the transaction without a change, if SQLite has not done that itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
