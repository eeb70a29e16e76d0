"""Threads of one process on the file: one writes, one reads."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar

from realtime_bridge.model.event import Event
from realtime_bridge.model.retention import Retention
from realtime_bridge_backends.sqlite.database import connect
from realtime_bridge_backends.sqlite.errors import to_publish_error
from realtime_bridge_backends.sqlite.threads import Job, ReaderThread
from realtime_bridge_backends.sqlite.timing import SQLiteTiming
from realtime_bridge_backends.sqlite.transaction import Transaction
from realtime_bridge_backends.sqlite.writer import WriterThread

T = TypeVar("T")


class Session:
    """File as one process has it open.

    The constructor waits for the disk: call it, and `close`, outside of the event loop.

    Args:
        path: the file.
        prefix: the application's prefix.
        retention: the history that a channel keeps.
        timing: time limits.

    Raises:
        ConfigurationError: the file is another application's or prefix's, or newer.
        sqlite3.Error: SQLite cannot open it.
        OSError: the file cannot be created.

    """

    def __init__(self, path: Path, prefix: str, retention: Retention, timing: SQLiteTiming) -> None:
        self._timing = timing
        self._name = f"the SQLite log {path}"
        self._is_replaced = False
        self.writer: WriterThread = WriterThread(path, prefix, retention, timing, self._on_replaced)
        self.writer.wait_until_open()
        open_reader = partial(connect, path, timing.busy_seconds)
        self._reader = ReaderThread(open_reader, timing.busy_seconds)
        try:
            self._reader.wait_until_open()
        except BaseException:
            self.writer.stop()
            raise
        # Only the first process that opens the file gives it another one.
        self.lineage: str | None = self.writer.lineage

    @property
    def is_over(self) -> bool:
        """True if the file at the path is another one, or a thread ended."""
        return self._is_replaced or self.writer.has_ended or self._reader.has_ended

    async def write(self, work: Callable[[Transaction], T], events: Sequence[Event] = ()) -> T:
        """Run work in a transaction that writes, and return its result after the commit.

        Args:
            work: the work.
            events: the events that it appends.

        Raises:
            PublishError: nothing was stored, or that is unknown.

        """
        return await self._result(self.writer.submit, Job(work, events))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work on the connection that reads, and return its result.

        Raises:
            PublishError: the file cannot be read.

        """
        return await self._result(self._reader.submit, Job(work))

    def close(self) -> None:
        """Finish the queued work, and close the file."""
        self._reader.stop()
        self.writer.stop()

    def forget(self) -> None:
        """Give up the lock's descriptor in a forked child, and close nothing else there."""
        if self.writer.lock:
            self.writer.lock.close()

    async def _result(
        self, submit: "Callable[[Job[Any, T]], asyncio.Future[T]]", job: "Job[Any, T]"
    ) -> T:
        # A timer alone costs a third of `asyncio.timeout`, and each append pays for it.
        timer = job.loop.call_later(self._timing.call_seconds, job.expire)
        try:
            return await submit(job)
        except Exception as error:
            raise to_publish_error(error, self._name) from error
        finally:
            timer.cancel()

    def _on_replaced(self) -> None:
        self._is_replaced = True
