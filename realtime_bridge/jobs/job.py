"""Jobs that report: started, progress, and one of completed, failed or cancelled."""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from realtime_bridge.jobs.publisher import ReportRunner
from realtime_bridge.jobs.queue_errors import end_of_task
from realtime_bridge.jobs.reporter import JobReporter
from realtime_bridge.jobs.values import FAILURES, error_text, to_job_id, to_number, to_text
from realtime_bridge.model.ids import event_id

T = TypeVar("T")

_CANCELLATIONS = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit)


class Job:
    """Base of both kinds of job: reports progress, and never fails the work.

    Its texts and numbers may be values of any kind, see `realtime_bridge.jobs.values`.

    Args:
        channel: channel of the reports.
        id: the job's id; None creates one. A long one is shortened, see `values.to_job_id`.
        title: name of the job for people.
        runner: runs the reports.

    Raises:
        InvalidEventError: the channel is not valid.

    """

    def __init__(
        self,
        channel: str,
        id: str | None,  # noqa: A002 -- as in `publish`
        title: str | None,
        runner: ReportRunner,
    ) -> None:
        self.id: str = ("" if id is None else to_job_id(id)) or event_id()
        self._reporter = JobReporter(channel, self.id, to_text(title) or f"Job {self.id}", runner)

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
        # Before the reporter's lock: a value's `__str__` may call this job itself.
        self._reporter.set_progress(to_number(fraction), to_text(message), to_text(stage))

    def _change(self, name: str, *, error: object = None, retry_at: object = None) -> None:
        at = to_number(retry_at)
        text = error_text(error) if isinstance(error, BaseException) else to_text(error)
        self._reporter.change(name, error=text, retry_at=None if at is None else int(at))

    def _end(self, error: BaseException | None) -> None:
        # `sys.exit()` and `sys.exit(0)` are the ends of a program whose work is done.
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self._change("completed")
        elif isinstance(error, _CANCELLATIONS):
            self._change("cancelled")
        else:
            end = end_of_task(error)
            if end.state:
                self._change(end.state, error=end.error, retry_at=end.retry_at)

    def _count(self, total: float, started: float, done: int) -> None:
        left = (time.monotonic() - started) * max(0.0, total - done) / done
        self._reporter.set_progress(min(1.0, done / total), seconds_left=round(left, 1))


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
        self._reporter.wait()

    def report(self, state: str, *, error: object = None, retry_at: float | None = None) -> bool:
        """Report a state by hand, for a queue that knows the result of the work.

        The call waits until the report is published: at most 1 s, and not at all while the log
        does not answer. The report goes on in the background.

        Args:
            state: queued, started, retrying, completed, failed or cancelled.
            error: reason of the failure: a text, or an exception.
            retry_at: time of the next attempt, in Unix milliseconds.

        Returns:
            Whether the report is published.

        """
        self._change(state, error=error, retry_at=retry_at)
        return self._reporter.wait()

    def unsent(self) -> bytes | None:
        """Return the newest update that is not published, for `forward` in another process."""
        return self._reporter.unsent()

    def forward(self, fields: dict[str, Any]) -> None:
        """Publish what `unsent` returned in another process, decoded, in the background."""
        self._reporter.forward(fields)

    def track(self, items: Iterable[T], *, total: int | None = None) -> Iterator[T]:
        """Yield the items, and report the progress after each one.

        Args:
            items: the work.
            total: number of items; `len(items)` by default.

        """
        count = _total(items, total)
        started = time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            if count:
                self._count(count, started, done)


class SilentJob(BlockingJob):
    """Job that reports nothing, for code that runs with and without a queue."""

    def __init__(self) -> None:
        self.id: str = event_id()

    def progress(
        self, fraction: float | None = None, message: str | None = None, *, stage: str | None = None
    ) -> None:
        """Report nothing."""

    def report(self, state: str, *, error: object = None, retry_at: float | None = None) -> bool:  # noqa: ARG002 -- as in the base
        """Report nothing; nothing is left to publish."""
        return True

    def unsent(self) -> bytes | None:
        """Return None: no update waits."""
        return None

    def forward(self, fields: dict[str, Any]) -> None:
        """Publish nothing."""

    def track(self, items: Iterable[T], *, total: int | None = None) -> Iterator[T]:  # noqa: ARG002 -- as in the base
        """Yield the items."""
        yield from items

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return


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
        await self._reporter.wait_async()

    async def track(
        self, items: Iterable[T] | AsyncIterable[T], *, total: int | None = None
    ) -> AsyncIterator[T]:
        """Yield the items, and report the progress after each one; see `BlockingJob.track`."""
        count = _total(items, total)
        started = time.monotonic()
        done = 0
        async for item in _iterate(items):
            yield item
            done += 1
            if count:
                self._count(count, started, done)


async def _iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _total(items: Any, total: Any) -> float | None:
    """Return the number of items; None where it is unknown."""
    try:
        count = to_number(len(items) if total is None else total)
    except FAILURES:
        # An iterator has no length, and the application's own `__len__` may fail.
        return None
    return count if count and count > 0 else None
