"""Jobs of code that is not async."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from realtime_bridge.backend.native_threads import wait_for
from realtime_bridge.errors import JobCancelledError, JobSupersededError, RealtimeError
from realtime_bridge.jobs.interruption import TaskInterruption
from realtime_bridge.jobs.job import ANSWER_SECONDS, Job, to_id, total_of
from realtime_bridge.jobs.streams import BlockingJobStream, StreamFormat

T = TypeVar("T")


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
        for stream in self._streams:
            stream.close(error)
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

    async def report_async(
        self, state: str, *, error: object = None, retry_at: float | None = None
    ) -> bool:
        """Report a state by hand; see `report`. The event loop runs on."""
        self._change(state, error=error, retry_at=retry_at)
        return await self._reporter.wait_async()

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of async work, and cancel it where it waits as soon as it should stop.

        Raises:
            JobCancelledError, JobSupersededError: as for `check`.

        """
        block = TaskInterruption()
        if self._cancellable:
            self._reporter.on_interruption = block.interrupt_soon
        try:
            self.check()
            result = await work()
        except BaseException as error:
            if await block.is_cause_of(error):
                raise self._interruption() from error
            raise
        # It may come at the very end: the result counts.
        await block.is_cause_of(None)
        return result

    def raise_as(
        self, cancelled: type[JobCancelledError], superseded: type[JobSupersededError]
    ) -> None:
        """Raise the cancel and the take-over in forms that a queue takes for no failures."""
        self._errors = (cancelled, superseded)

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

        Raises:
            JobCancelledError, JobSupersededError: as for `check`.

        """
        count = total_of(items, total)
        started = time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            if count:
                self._count(count, started, done)
            if self._state.interruption:
                self.check()

    def ask(
        self,
        question: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        choices: Sequence[str] | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Any:
        """Ask the people who watch, and return the answer.

        Args:
            question: text for people.
            id: id of the question; a retry of the task that asks the same id gets the same
                answer. None creates one.
            choices: the possible answers; None allows any JSON value.
            timeout: longest wait, in seconds.

        Raises:
            AnswerTimeoutError: no one answered in time.
            JobCancelledError, JobSupersededError: as for `check`.
            RealtimeError: the code is async: it has to await `ask_async`.

        """
        if asyncio._get_running_loop() is not None:
            raise RealtimeError(
                "job.ask would stop the event loop until the answer: use `await job.ask_async(…)`"
            )
        asked, deadline = to_id(id), time.monotonic() + timeout
        self._ask(question, asked, choices)
        while True:
            news = self._reporter.news()  # first: no answer is missed between the two
            if self._has_answer(asked) or not wait_for(news, max(0, deadline - time.monotonic())):
                break
        self._reporter.resume()
        self._reporter.wait()
        return self._answer_of(asked, timeout)

    async def ask_async(
        self,
        question: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        choices: Sequence[str] | None = None,
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 -- as in `ask`
    ) -> Any:
        """Ask the people who watch, and return the answer; see `ask`. The event loop runs on."""
        return await self._ask_async(question, to_id(id), choices, timeout)

    def stream(
        self,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        format: StreamFormat = "text",  # noqa: A002 -- the field's name on the wire
        meta: Any = None,
    ) -> BlockingJobStream:
        """Return a stream of this run, `with job.stream() as stream`; it ends with the job.

        Raises:
            InvalidEventError: an argument is not valid.

        """
        options: Any = {"id": id, "format": format, "meta": meta, "attempt": self.attempt}
        stream: BlockingJobStream = self._host.stream(self._channel, **options)
        self._streams.append(stream)
        return stream

    def child(self, *, id: str | None = None, title: str | None = None) -> "BlockingJob":  # noqa: A002
        """Return a job with this one as its parent, which is cancelled with it."""
        options: Any = {"parent": self.id, "cancellable": self._cancellable}
        job: BlockingJob = self._host.job(self._channel, id=id, title=title, **options)
        return job

    def _check_in_passing(self) -> None:
        self.check()
