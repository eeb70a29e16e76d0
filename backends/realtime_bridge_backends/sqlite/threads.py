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
from realtime_bridge_backends.sqlite.timing import SQLiteTiming

_logger = logging.getLogger("realtime_bridge.backend")

T = TypeVar("T")
W = TypeVar("W")


class Submission:
    """Jobs that one event loop submits in one turn: they share the timer of their limit.

    With a timer for each job, 50 tasks that append at once paid a quarter of the loop's time.

    Args:
        loop: the running event loop.
        seconds: time after which jobs without an answer fail.
        on_end_of_turn: called with the jobs at the end of the turn.

    """

    __slots__ = ("_on_end_of_turn", "_timer", "_unanswered", "jobs", "loop", "submitted_at")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        on_end_of_turn: "Callable[[Submission], object]",
    ) -> None:
        self.loop = loop
        self.jobs: list[Job[Any, Any]] = []
        self.submitted_at: float = monotonic()
        self._unanswered = 0
        self._timer = loop.call_later(seconds, self._expire)
        self._on_end_of_turn = on_end_of_turn
        loop.call_soon(self._end_turn)

    def answered(self) -> None:
        """Count the answer of a job; the last one cancels the timer."""
        self._unanswered -= 1
        if not self._unanswered:
            self._timer.cancel()

    def _end_turn(self) -> None:
        self._unanswered = len(self.jobs)
        self._on_end_of_turn(self)

    def _expire(self) -> None:
        """Fail the jobs: the disk, or the queue, takes too long."""
        for job in self.jobs:
            if not job.future.done():
                job.future.set_exception(TimeoutError("no answer in time"))


class Job(Generic[W, T]):
    """Work for a thread, and the future of its result on the caller's event loop.

    Args:
        work: the work.
        events: the events that it appends.
        submission: the submission of this turn.

    """

    __slots__ = ("events", "future", "submission", "work")

    def __init__(
        self, work: Callable[[W], T], events: Sequence[Event], submission: Submission
    ) -> None:
        self.work = work
        self.events = events
        self.submission = submission
        self.future: asyncio.Future[T] = submission.loop.create_future()
        submission.jobs.append(self)


class DatabaseThread(ABC):
    """Thread that opens a connection, works on its queue, and closes the connection.

    Args:
        name: the thread's name.
        call_seconds: longest time until the answer of a job.

    """

    def __init__(self, name: str, call_seconds: float) -> None:
        self._call_seconds = call_seconds
        self._submission: Submission | None = None
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

    def submit(self, work: Callable[[W], T], events: Sequence[Event] = ()) -> "asyncio.Future[T]":
        """Queue work with the other work of this turn of the loop; return its result's future."""
        loop = asyncio.get_running_loop()
        submission = self._submission
        # Only its own loop changes a submission: each loop that uses the file has another one.
        if submission is None or submission.loop is not loop:
            submission = Submission(loop, self._call_seconds, self._queue_jobs)
            self._submission = submission
        return Job(work, events, submission).future

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

    def _queue_jobs(self, submission: Submission) -> None:
        if self._submission is submission:
            self._submission = None
        for job in submission.jobs:
            self._queue.put(job)

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
        by_loop.setdefault(each[0].submission.loop, []).append(each)
    for loop, loop_answers in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: its callers are gone
            loop.call_soon_threadsafe(_complete, loop_answers)


def _complete(answers: list[Answer]) -> None:
    for job, result, error in answers:
        job.submission.answered()
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
        timing: time limits.

    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], timing: SQLiteTiming) -> None:
        self._connect = connect
        self._busy_seconds = timing.busy_seconds
        super().__init__("realtime-bridge-sqlite-read", timing.call_seconds)

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
