"""Threads of the file: each owns one connection, and works on one queue."""

import asyncio
import logging
import sqlite3
from _queue import Empty, SimpleQueue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any, Generic, TypeVar

from realtime_bridge.backend.native_threads import create_future, start_native_thread, wait_for
from realtime_bridge.model.event import Event
from realtime_bridge_backends.sqlite.database import retry_while_busy

_logger = logging.getLogger("realtime_bridge.backend")

T = TypeVar("T")
W = TypeVar("W")


class Job(Generic[W, T]):
    """Work for a thread, and the future of its result on the caller's event loop.

    Args:
        work: the work.
        events: the events that it appends.

    """

    __slots__ = ("events", "future", "loop", "submitted_at", "work")

    def __init__(self, work: Callable[[W], T], events: Sequence[Event] = ()) -> None:
        self.work = work
        self.events = events
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.submitted_at: float = monotonic()

    def expire(self) -> None:
        """Fail the job: the disk, or the queue, takes too long."""
        if not self.future.done():
            self.future.set_exception(TimeoutError("no answer in time"))


class DatabaseThread(ABC):
    """Thread that opens a connection, works on its queue, and closes the connection.

    Args:
        name: the thread's name.

    """

    def __init__(self, name: str) -> None:
        # The queue of C: gevent and eventlet replace that of `queue` by one for greenlets.
        self._queue: SimpleQueue[Job[Any, Any] | None] = SimpleQueue()
        self._opened: Future[None] = create_future()
        self.has_ended: bool = False
        """True if the thread works on no more jobs."""
        self._join = start_native_thread(self._run, name)

    def wait_until_open(self) -> None:
        """Wait until the connection is open.

        Raises:
            Exception: the reason for which it is not.

        """
        wait_for(self._opened)
        self._opened.result()

    def submit(self, job: "Job[Any, T]") -> "asyncio.Future[T]":
        """Queue a job, and return the future of its result."""
        self._queue.put(job)
        return job.future

    def stop(self) -> None:
        """End the thread after the queued jobs, and close the connection."""
        self._queue.put(None)
        self._join()

    @abstractmethod
    def connect(self) -> sqlite3.Connection:
        """Open the connection."""

    @abstractmethod
    def work(self, connection: sqlite3.Connection) -> None:
        """Work on the queue until it has a None."""

    def _run(self) -> None:
        # The connection is a local variable of this frame. In a forked child the frame is never
        # cleared, so nothing closes the connection there: SQLite forbids that.
        try:
            connection = self.connect()
        except BaseException as error:
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        try:
            self.work(connection)
        except BaseException:
            _logger.exception("thread of the log ended, opening the file again")
        finally:
            self.has_ended = True
            connection.close()
            self._fail_rest()

    def _fail_rest(self) -> None:
        rest = []
        with suppress(Empty):
            while True:
                job = self._queue.get_nowait()
                if job is not None:
                    rest.append((job, None, RuntimeError("the log was closed")))
        answer(rest)


Answer = tuple[Job[Any, Any], Any, BaseException | None]
"""Job, its result, or its error."""


def answer(answers: Iterable[Answer]) -> None:
    """Complete the futures of jobs, by one call for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
    for each in answers:
        by_loop.setdefault(each[0].loop, []).append(each)
    for loop, loop_answers in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: its callers are gone
            loop.call_soon_threadsafe(_complete, loop_answers)


def _complete(answers: list[Answer]) -> None:
    for job, result, error in answers:
        if job.future.done():  # its caller gave up
            continue
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)


class ReaderThread(DatabaseThread):
    """Thread of the reads, on a connection that cannot write.

    Args:
        connect: opens the connection.
        busy_seconds: longest wait for a lock.

    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], busy_seconds: float) -> None:
        self._connect = connect
        self._busy_seconds = busy_seconds
        super().__init__("realtime-bridge-sqlite-read")

    def connect(self) -> sqlite3.Connection:
        """Open the connection."""
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def work(self, connection: sqlite3.Connection) -> None:
        """Run each read."""
        while job := self._queue.get():
            try:
                result = retry_while_busy(lambda: job.work(connection), self._busy_seconds)
            except BaseException as error:
                answer([(job, None, error)])
            else:
                answer([(job, result, None)])
