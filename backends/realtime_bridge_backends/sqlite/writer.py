"""Thread of all writes: it commits the appends of many callers in one transaction."""

import logging
import sqlite3
import time
from _queue import Empty
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from msgspec import Struct

from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.model.retention import Retention
from realtime_bridge_backends.sqlite import lifecycle
from realtime_bridge_backends.sqlite.bells import Bells
from realtime_bridge_backends.sqlite.checkpoints import Checkpoints
from realtime_bridge_backends.sqlite.database import roll_back, wait_for_lock
from realtime_bridge_backends.sqlite.errors import is_busy
from realtime_bridge_backends.sqlite.lock_file import LockFile, Progress
from realtime_bridge_backends.sqlite.threads import DatabaseThread, Job, answer
from realtime_bridge_backends.sqlite.timing import SQLiteTiming
from realtime_bridge_backends.sqlite.transaction import Transaction

_logger = logging.getLogger("realtime_bridge.backend")

_COUNT = "UPDATE settings SET commits = commits + 1 RETURNING commits, lineage"

_BEGIN_EXPIRY = "UPDATE settings SET swept = ? WHERE swept < ? RETURNING 1"

EXPIRY_ROUNDS = 10
"""Transactions that expire channels one after another, at most: appends come between them."""

VACUUM_PAGES = 64
"""Free pages that the disk gets back at a time, at most."""

Group = list[Job[Any, Any]]


class Statistics(Struct):
    """Counts of this process: transactions, events of them, and seconds of waits for the lock."""

    commits: int = 0
    events: int = 0
    busy_seconds: float = 0.0


class WriterThread(DatabaseThread):
    """Thread of the writes; it opens the file, and is the last to leave it.

    Args:
        path: the file.
        prefix: the application's prefix.
        retention: the history that a channel keeps.
        timing: time limits.
        on_replaced: called when the file at the path is another one.

    """

    def __init__(
        self,
        path: Path,
        prefix: str,
        retention: Retention,
        timing: SQLiteTiming,
        on_replaced: Callable[[], object],
    ) -> None:
        self._path = path
        self._prefix = prefix
        self._retention = retention
        self._timing = timing
        self._next: Job[Any, Any] | None = None
        self._checkpoints = Checkpoints(path)
        self._on_replaced = on_replaced
        self._inode: tuple[int, int] | None = None
        self._next_expiry = monotonic() + timing.expiry_seconds
        self.lock: LockFile | None = None
        self.statistics: Statistics = Statistics()
        super().__init__("realtime-bridge-sqlite-write", timing.call_seconds)

    @property
    def lineage(self) -> str | None:
        """Lineage of the file: the lock file has it from its first process on."""
        progress = self.lock.read() if self.lock else None
        return progress.lineage if progress else None

    @property
    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        return self._checkpoints.wal_bytes()

    def connect(self) -> sqlite3.Connection:
        """Open the file."""
        opened = lifecycle.open_file(self._path, self._prefix, self._timing.busy_seconds)
        connection, self.lock = opened
        self._inode = _inode(self._path)
        self._bells = Bells(self._path)
        return connection

    def work(self, connection: sqlite3.Connection) -> None:
        """Commit one group after the other, and maintain the file in between."""
        assert self.lock
        try:
            while (group := self._take()) is not None:
                if group:
                    self._commit(connection, group)
                self._maintain(connection)
            self._leave(connection, self.lock)
        finally:
            self._bells.close()
            self.lock.close()

    def _leave(self, connection: sqlite3.Connection, lock: LockFile) -> None:
        try:
            lifecycle.leave(connection, lock, self._timing.busy_seconds)
        except (sqlite3.Error, OSError) as error:
            # Harmless while the machine runs: only a file after its end looks like a lost one.
            _logger.warning("log not left in order path=%s error=%r", self._path, str(error))

    def _take(self) -> Group | None:
        """Return the waiting jobs, of one group's size; None at the end."""
        job, self._next = self._next, None
        if job is None:
            try:
                job = self._queue.get(timeout=max(0.0, self._next_expiry - monotonic()))
            except Empty:
                return []
        if job is None:
            return None
        group, events = [job], len(job.events)
        while events < MAX_BATCH:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if job is None:
                self._queue.put(None)  # after this group
                break
            if events + len(job.events) > MAX_BATCH:
                self._next = job
                break
            group.append(job)
            events += len(job.events)
        return group

    def _commit(self, connection: sqlite3.Connection, group: Group) -> None:
        """Run the jobs in one transaction: all of them, or none."""
        try:
            group = self._begin(connection, group)
            try:
                results, has_news = self._append(connection, group, looks_for_ids=False)
            except sqlite3.IntegrityError:
                # An id is stored: this is rare, and its search costs as much as its insert.
                roll_back(connection)
                group = self._begin(connection, group)
                results, has_news = self._append(connection, group, looks_for_ids=True)
        except BaseException as error:
            roll_back(connection)
            answer([(job, None, error) for job in group])
            return
        answer([(job, result, None) for job, result in zip(group, results, strict=True)])
        # After the commit: a listener that wakes up earlier would find nothing.
        if has_news:
            self._bells.ring()

    def _append(
        self, connection: sqlite3.Connection, group: Group, *, looks_for_ids: bool
    ) -> tuple[list[Any], bool]:
        """Run the jobs in the transaction that has begun, if there are any, and commit it."""
        if not group:
            return [], False
        events = [event for job in group for event in job.events]
        # A refusal by the owner of a key writes no id, which could be a stored one.
        repeatable = (
            events if looks_for_ids else [event for event in events if event.key is not None]
        )
        result = self._transact(connection, [job.work for job in group], repeatable)
        self.statistics.events += len(events)
        return result

    def _transact(
        self,
        connection: sqlite3.Connection,
        works: Sequence[Callable[[Transaction], Any]],
        repeatable: Sequence[Event] = (),
    ) -> tuple[list[Any], bool]:
        """Run the works in the transaction that has begun, and commit it."""
        ((commits, lineage),) = connection.execute(_COUNT).fetchall()
        transaction = Transaction(connection, self._retention, commits, repeatable)
        results = [work(transaction) for work in works]
        transaction.flush()
        connection.execute("COMMIT")
        self.statistics.commits += 1
        self._checkpoints.add(transaction.written_bytes)
        # After the commit: it must never be ahead of the file, or the epochs turn for nothing.
        assert self.lock
        self.lock.write(Progress(lineage, commits))
        return results, transaction.has_news

    def _begin(self, connection: sqlite3.Connection, group: Group) -> Group:
        """Get the write lock, and return the jobs that still wait for it."""
        started = monotonic()
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if not is_busy(error):
                        raise
                    group = self._drop_late(group, error)
                    if not group:
                        return group
                else:
                    return group
                wait_for_lock()
        finally:
            self.statistics.busy_seconds += monotonic() - started

    def _drop_late(self, group: Group, error: sqlite3.Error) -> Group:
        oldest = monotonic() - self._timing.busy_seconds
        late = [job for job in group if job.submission.submitted_at <= oldest]
        answer([(job, None, error) for job in late])
        return [job for job in group if job.submission.submitted_at > oldest]

    def _maintain(self, connection: sqlite3.Connection) -> None:
        """Write the log back, and expire channels, where that is due."""
        idle = self._next is None and self._queue.empty()
        try:
            self._checkpoints.run_due(connection, idle=idle)
            if idle and monotonic() >= self._next_expiry:
                self._next_expiry = monotonic() + self._timing.expiry_seconds
                self._expire(connection)
        except (sqlite3.Error, OSError) as error:
            roll_back(connection)
            if not (isinstance(error, sqlite3.Error) and is_busy(error)):
                _logger.warning("log not maintained path=%s error=%r", self._path, str(error))

    def _expire(self, connection: sqlite3.Connection) -> None:
        """Delete what is over, unless another process has just done that."""
        self._check_inode()
        now = time.time()
        due = connection.execute(_BEGIN_EXPIRY, (now, now - self._timing.expiry_seconds)).fetchall()
        if not due:
            return
        for _ in range(EXPIRY_ROUNDS):
            connection.execute("BEGIN IMMEDIATE")
            (has_more,), has_news = self._transact(connection, [Transaction.expire_channels])
            if has_news:
                self._bells.ring()
            if not has_more or not self._queue.empty():
                break
        connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
        # Processes that end before they have written 4 MiB write nothing back.
        self._checkpoints.run(connection, idle=True)

    def _check_inode(self) -> None:
        """Report a file that was deleted or replaced: this process writes to the former one."""
        if _inode(self._path) != self._inode:
            _logger.error(
                "log replaced path=%s: opening the new file; stop all processes before the next "
                "change of the file",
                self._path,
            )
            self._on_replaced()


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
