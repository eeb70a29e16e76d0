"""A job's life as events: started, progress, and one of completed, failed or cancelled."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from realtime_bridge.broadcaster import CALL_TIMEOUT, Broadcaster
from realtime_bridge.errors import PublishError, RealtimeError
from realtime_bridge.event import Event
from realtime_bridge.identifiers import event_id
from realtime_bridge.protocol import backoff
from realtime_bridge.protocol.job_life import JobLife

T = TypeVar("T")
Tell = Callable[[Broadcaster], Coroutine[Any, Any, None]]
Begin = Callable[[Tell], asyncio.Task[None] | None]

_logger = logging.getLogger("realtime_bridge.jobs")


class Job:
    """What both kinds of job can do: report progress, and nothing that could fail the work."""

    def __init__(self, channel: str, id: str | None, title: str | None, begin: Begin) -> None:  # noqa: A002 -- as in `publish`
        self.id = id or event_id()
        self._attempt = event_id()
        self._channel = channel
        self._key = f"job-{self.id}"
        self._life = JobLife(self.id, title=title or f"Job {self.id}")
        self._begin = begin
        self._lock = threading.Lock()
        self._telling = False
        self._told = threading.Event()
        self._teller: asyncio.Task[None] | None = None
        Event(channel=channel, event="job.started", data=None, key=self._key)

    def progress(
        self, fraction: float | None = None, message: str | None = None, *, stage: str | None = None
    ) -> None:
        """Report how far the job is; what is left out stays as it was.

        At most 4 states a second are published, the last one always. The other calls cost
        microseconds.

        Args:
            fraction: 0 to 1.
            message: what people read.
            stage: the name of the step.

        """
        life = self._life
        with self._lock:
            if fraction is not None:
                life.fraction = fraction
            if message is not None:
                life.message = message
            if stage is not None:
                life.stage = stage
            life.move()
        self._wake()

    def _change(self, name: str, *, error: str | None = None) -> None:
        with self._lock:
            self._life.change(name, _now_ms(), error=error)
        self._wake()

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self._change("completed")
        elif isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
            self._change("cancelled")
        else:
            self._change("failed", error=str(error) or type(error).__name__)

    def _counted(self, total: int | None, started: float, done: int) -> None:
        if total:
            left = (time.monotonic() - started) * max(0, total - done) / done
            self._life.seconds_left = round(left, 1)
            self.progress(min(1.0, done / total))

    def _wake(self) -> None:
        with self._lock:
            if self._telling:
                return
            self._telling = True
            self._told.clear()
        try:
            self._teller = self._begin(self._tell)
        except RealtimeError as error:
            self._rest()
            _logger.warning("job %s goes on, but cannot be told of: %s", self.id, error)

    async def _tell(self, broadcaster: Broadcaster) -> None:
        failures = 0
        try:
            while (wait := self._next_wait()) is not None:
                await asyncio.sleep(wait)
                failures = 0 if await self._publish(broadcaster) else failures + 1
                if failures:
                    pause = backoff.delay(failures - 1, random.random(), base=0.2, cap=5.0)  # noqa: S311
                    await asyncio.sleep(pause)
        except asyncio.CancelledError:
            _logger.warning("what was left to tell of job %s is lost: it was closed", self.id)
            self._rest()
            raise

    async def _publish(self, broadcaster: Broadcaster) -> bool:
        """Publish what is due, and return whether it is off our hands."""
        with self._lock:
            telling = self._life.take(time.monotonic(), _now_ms())
        if telling is None:
            return True
        # Each try of one state has the same id.
        same = f"{self._attempt}-{telling.data['version']}"
        try:
            await broadcaster.publish(
                self._channel, telling.event, telling.data, id=same, key=self._key
            )
        except RealtimeError as error:
            if isinstance(error, PublishError) and error.retryable:
                _logger.warning("%s of job %s waits: %s", telling.event, self.id, error)
                return False
            _logger.warning("%s of job %s is lost: %s", telling.event, self.id, error)
        with self._lock:
            self._life.told(telling)
        return True

    def _rest(self) -> None:
        self._telling = False
        self._told.set()

    def _next_wait(self) -> float | None:
        with self._lock:
            wait = self._life.due(time.monotonic())
            if wait is None:
                self._rest()
            return wait


class BlockingJob(Job):
    """A job of code that is not async; see `BlockingBroadcaster.job`."""

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
        self._told.wait(CALL_TIMEOUT)

    def tell(self, state: str, *, error: str | None = None) -> None:
        """Tell a state by hand, for a queue that knows what became of the work.

        It waits until that is published, 5 s at most.

        Args:
            state: queued, started, retrying, completed, failed or cancelled.
            error: what went wrong.

        """
        self._change(state, error=error)
        self._told.wait(CALL_TIMEOUT)

    def track(self, items: Iterable[T], *, total: int | None = None) -> Iterator[T]:
        """Yield the items, and report after each how many of `total`, or `len(items)`, are done."""
        total = total if total is not None else _length(items)
        started = time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            self._counted(total, started, done)


class AsyncJob(Job):
    """A job of async code; see `Broadcaster.job`."""

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
        if self._teller:
            await asyncio.wait({self._teller}, timeout=CALL_TIMEOUT)

    async def track(
        self, items: Iterable[T] | AsyncIterable[T], *, total: int | None = None
    ) -> AsyncIterator[T]:
        """Yield the items, and report after each how many of `total`, or `len(items)`, are done."""
        total = total if total is not None else _length(items)
        started = time.monotonic()
        done = 0
        async for item in _each(items):
            yield item
            done += 1
            self._counted(total, started, done)


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _length(items: object) -> int | None:
    try:
        return len(items)  # type: ignore[arg-type]
    except TypeError:
        return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
