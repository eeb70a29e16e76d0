"""Jobs of async code."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from realtime_bridge.jobs.interruption import TaskInterruption
from realtime_bridge.jobs.job import ANSWER_SECONDS, Job, to_id, total_of
from realtime_bridge.jobs.streams import AsyncJobStream, StreamFormat

T = TypeVar("T")


class AsyncJob(Job):
    """Job of async code; see `Broadcaster.job`."""

    _block: TaskInterruption | None = None

    async def __aenter__(self) -> Self:
        if self._cancellable:
            block = self._block = TaskInterruption()
            self._reporter.on_interruption = block.interrupt_soon
        self._change("started")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        interruption = None
        if self._block and await self._block.is_cause_of(error):
            interruption = self._interruption()
        for stream in self._streams:
            await stream.close(interruption or error)
        self._end(interruption or error)
        await self._reporter.wait_async()
        if interruption:
            raise interruption from error

    async def track(
        self, items: Iterable[T] | AsyncIterable[T], *, total: int | None = None
    ) -> AsyncIterator[T]:
        """Yield the items, and report the progress after each one; see `BlockingJob.track`."""
        count = total_of(items, total)
        started = time.monotonic()
        done = 0
        async for item in _iterate(items):
            yield item
            done += 1
            if count:
                self._count(count, started, done)

    async def ask(
        self,
        question: str,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        choices: Sequence[str] | None = None,
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 -- as in `BlockingJob.ask`
    ) -> Any:
        """Ask the people who watch, and return the answer; see `BlockingJob.ask`."""
        return await self._ask_async(question, to_id(id), choices, timeout)

    def stream(
        self,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        format: StreamFormat = "text",  # noqa: A002 -- the field's name on the wire
        meta: Any = None,
    ) -> AsyncJobStream:
        """Return a stream of this run, `async with job.stream() as stream`; it ends with the job.

        Raises:
            InvalidEventError: an argument is not valid.

        """
        options: Any = {"id": id, "format": format, "meta": meta, "attempt": self.attempt}
        stream: AsyncJobStream = self._host.stream(self._channel, **options)
        self._streams.append(stream)
        return stream

    def child(self, *, id: str | None = None, title: str | None = None) -> "AsyncJob":  # noqa: A002
        """Return a job with this one as its parent, which is cancelled with it."""
        options: Any = {"parent": self.id, "cancellable": self._cancellable}
        job: AsyncJob = self._host.job(self._channel, id=id, title=title, **options)
        return job


async def _iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
