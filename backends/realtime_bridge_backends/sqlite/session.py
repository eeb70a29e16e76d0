"""Threads of one process on the file: one writes, one reads."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from realtime_bridge.model.event import Event
from realtime_bridge.model.retention import Retention
from realtime_bridge_backends.sqlite.bells import Bells
from realtime_bridge_backends.sqlite.database import connect
from realtime_bridge_backends.sqlite.errors import to_publish_error
from realtime_bridge_backends.sqlite.threads import ReaderThread
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
        self._name = f"the SQLite log {path}"
        self._is_replaced = False
        self.writer: WriterThread = WriterThread(path, prefix, retention, timing, self._on_replaced)
        self.writer.wait_until_open()
        open_reader = partial(connect, path, timing.busy_seconds)
        self._reader = ReaderThread(open_reader, timing)
        try:
            self._reader.wait_until_open()
        except BaseException:
            self.writer.stop()
            raise
        self._bells = Bells(path)
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
        try:
            return await self.writer.submit(work, events)
        except Exception as error:
            raise to_publish_error(error, self._name) from error

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work on the connection that reads, and return its result.

        Raises:
            PublishError: the file cannot be read.

        """
        try:
            return await self._reader.submit(work)
        except Exception as error:
            raise to_publish_error(error, self._name) from error

    async def send(self, message: bytes) -> None:
        """Send a message to the listeners of all processes.

        Raises:
            PublishError: the message is too long.

        """
        try:
            await self._bells.send(message)
        except OSError as error:
            raise to_publish_error(error, self._name) from error

    def close(self) -> None:
        """Finish the queued work, and close the file."""
        self._bells.close()
        self._reader.stop()
        self.writer.stop()

    def forget(self) -> None:
        """Give up the lock's descriptor in a forked child, and close nothing else there."""
        if self.writer.lock:
            self.writer.lock.close()

    def _on_replaced(self) -> None:
        self._is_replaced = True
