"""Jobs that report: started, progress, and one of completed, failed or cancelled."""

import asyncio
import logging
import random
import threading
import time
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from realtime_bridge.errors import PublishError, RealtimeError
from realtime_bridge.jobs.publisher import Publisher, Submit
from realtime_bridge.jobs.state import JobState
from realtime_bridge.model.event import Event
from realtime_bridge.model.fork import after_fork_in_child
from realtime_bridge.model.ids import event_id
from realtime_bridge.protocol import backoff

T = TypeVar("T")

REPORT_SECONDS = 5.0
"""Longest wait for a report at the end of a job: as long as one publish may take."""

_logger = logging.getLogger("realtime_bridge.jobs")


class Job:
    """Base of both kinds of job: reports progress, and never fails the work.

    Args:
        channel: channel of the reports.
        id: the job's id; None creates one.
        title: name of the job for people.
        submit: starts the publishing of reports.

    Raises:
        InvalidEventError: the channel, or the id within the key `job-{id}`, is not valid.

    """

    def __init__(self, channel: str, id: str | None, title: str | None, submit: Submit) -> None:  # noqa: A002 -- as in `publish`
        self.id: str = id or event_id()
        self._channel = channel
        self._key = f"job-{self.id}"
        self._state = JobState(self.id, title=title or f"Job {self.id}")
        self._submit = submit
        self._reset_for_process()
        # Events check their channel and key: a mistake is raised here, before the work starts.
        Event(channel=channel, event="job.started", data=None, key=self._key)
        _instances.add(self)

    def _reset_for_process(self) -> None:
        """Create the lock and the report of this process; a parent sends its own updates."""
        # Part of the updates' ids: a child must not reuse those of its parent.
        self._attempt = event_id()
        self._lock = threading.Lock()
        self._is_reporting = False
        self._reported = threading.Event()
        self._report_task: asyncio.Task[None] | None = None
        self._state.discard_pending()

    def progress(
        self, fraction: float | None = None, message: str | None = None, *, stage: str | None = None
    ) -> None:
        """Report the progress of the job; an omitted argument keeps its value.

        At most 4 updates per second are published, and always the last one. The other calls take
        microseconds.

        Args:
            fraction: 0 to 1.
            message: text for people.
            stage: name of the current step.

        """
        with self._lock:
            self._state.set_progress(fraction, message, stage)
        self._start_report()

    def _change(self, name: str, *, error: str | None = None, retry_at: int | None = None) -> None:
        with self._lock:
            self._state.change(name, _now_ms(), error=error, retry_at=retry_at)
        self._start_report()

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self._change("completed")
        elif isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
            self._change("cancelled")
        else:
            self._change("failed", error=str(error) or type(error).__name__)

    def _count(self, total: int | None, started: float, done: int) -> None:
        if total:
            left = (time.monotonic() - started) * max(0, total - done) / done
            with self._lock:
                self._state.set_progress(min(1.0, done / total), seconds_left=round(left, 1))
            self._start_report()

    def _start_report(self) -> None:
        # One report at a time: the running one publishes this update too, in order.
        with self._lock:
            if self._is_reporting:
                return
            self._is_reporting = True
            self._reported.clear()
        self._report_task = self._submit(self._report)

    async def _report(self, publisher: Publisher) -> None:
        failures = 0
        try:
            while (wait := self._next_wait()) is not None:
                await asyncio.sleep(wait)
                failures = 0 if await self._publish_next(publisher) else failures + 1
                if failures:
                    await asyncio.sleep(_pause(failures))
        except asyncio.CancelledError:
            _logger.warning("job updates lost job=%s reason=broadcaster closed", self.id)
            self._stop_reporting()
            raise

    async def _publish_next(self, publisher: Publisher) -> bool:
        """Publish the next update; return False where it stays pending."""
        with self._lock:
            update = self._state.next_update(time.monotonic(), _now_ms())
        if update is None:
            return True
        # Attempts to publish one update share its id: the log stores the first and drops others.
        update_id = f"{self._attempt}-{update.data['version']}"
        try:
            await publisher.publish(
                self._channel, update.event, update.data, id=update_id, key=self._key
            )
        except RealtimeError as error:
            if _is_retryable(error):
                _logger.warning(
                    "job update delayed job=%s event=%s error=%r", self.id, update.event, str(error)
                )
                return False
            _logger.warning(
                "job update lost job=%s event=%s error=%r", self.id, update.event, str(error)
            )
        # A lost update is removed too: it would block the ones after it.
        with self._lock:
            self._state.remove(update)
        return True

    def _stop_reporting(self) -> None:
        self._is_reporting = False
        self._reported.set()

    def _next_wait(self) -> float | None:
        # One lock for both: else an update between them would start no report.
        with self._lock:
            wait = self._state.seconds_until_due(time.monotonic())
            if wait is None:
                self._stop_reporting()
            return wait


class BlockingJob(Job):
    """Job of code that is not async; see `BlockingBroadcaster.job`."""

    def __enter__(self) -> Self:
        self._change("started")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(error)
        self._reported.wait(REPORT_SECONDS)

    def _start_report(self) -> None:
        try:
            super()._start_report()
        except RealtimeError as error:
            self._delay_report(error, failures=1)

    def _delay_report(self, error: RealtimeError, failures: int) -> None:
        """Start the report later, when the broadcaster may be able to connect."""
        if not _is_retryable(error):
            _logger.warning("job reports nothing job=%s error=%r", self.id, str(error))
            self._stop_reporting()
            return
        _logger.warning("job report delayed job=%s error=%r", self.id, str(error))
        timer = threading.Timer(_pause(failures), self._retry_report, [failures])
        timer.daemon = True  # a delayed report must not keep the process alive
        timer.start()

    def _retry_report(self, failures: int) -> None:
        try:
            self._submit(self._report)
        except RealtimeError as error:
            self._delay_report(error, failures + 1)

    def report(self, state: str, *, error: str | None = None, retry_at: int | None = None) -> None:
        """Report a state by hand, for a queue that knows the result of the work.

        The call waits until the report is published, at most 5 s.

        Args:
            state: queued, started, retrying, completed, failed or cancelled.
            error: reason of the failure.
            retry_at: time of the next attempt, in Unix milliseconds.

        """
        self._change(state, error=error, retry_at=retry_at)
        self._reported.wait(REPORT_SECONDS)

    def track(self, items: Iterable[T], *, total: int | None = None) -> Iterator[T]:
        """Yield the items, and report the progress after each one.

        Args:
            items: the work.
            total: number of items; `len(items)` by default.

        """
        total = total if total is not None else _length(items)
        started = time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            self._count(total, started, done)


class AsyncJob(Job):
    """Job of async code; see `Broadcaster.job`."""

    async def __aenter__(self) -> Self:
        self._change("started")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(error)
        if self._report_task:
            await asyncio.wait({self._report_task}, timeout=REPORT_SECONDS)

    async def track(
        self, items: Iterable[T] | AsyncIterable[T], *, total: int | None = None
    ) -> AsyncIterator[T]:
        """Yield the items, and report the progress after each one; see `BlockingJob.track`."""
        total = total if total is not None else _length(items)
        started = time.monotonic()
        done = 0
        async for item in _iterate(items):
            yield item
            done += 1
            self._count(total, started, done)


async def _iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _length(items: Any) -> int | None:
    try:
        return len(items)
    except TypeError:
        return None


def _is_retryable(error: RealtimeError) -> bool:
    return isinstance(error, PublishError) and error.retryable


def _pause(failures: int) -> float:
    return backoff.delay(failures - 1, random.random(), base=0.2, cap=5.0)  # noqa: S311 -- jitter


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_instances: weakref.WeakSet[Job] = weakref.WeakSet()


def _reset_all_for_process() -> None:
    for job in _instances:
        job._reset_for_process()


after_fork_in_child(_reset_all_for_process)
