"""A job's life as events: started, progress, and one of completed, failed or cancelled."""

import asyncio
import logging
import os
import random
import threading
import time
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from realtime_bridge.errors import PublishError, RealtimeError
from realtime_bridge.jobs.state import JobState
from realtime_bridge.model.event import Event
from realtime_bridge.model.ids import event_id
from realtime_bridge.protocol import backoff
from realtime_bridge.publishing.broadcaster import CALL_TIMEOUT, Broadcaster

T = TypeVar("T")
Tell = Callable[[Broadcaster], Coroutine[Any, Any, None]]
Begin = Callable[[Tell], asyncio.Task[None] | None]

_logger = logging.getLogger("realtime_bridge.jobs")


class Job:
    """What both kinds of job can do: report progress, and nothing that could fail the work."""

    def __init__(self, channel: str, id: str | None, title: str | None, begin: Begin) -> None:  # noqa: A002 -- as in `publish`
        self.id = id or event_id()
        self._channel = channel
        self._key = f"job-{self.id}"
        self._state = JobState(self.id, title=title or f"Job {self.id}")
        self._begin = begin
        self._begin_anew()
        Event(channel=channel, event="job.started", data=None, key=self._key)
        _alive.add(self)

    def _begin_anew(self) -> None:
        """Have a lock and a teller of this process; what a parent had to tell, it tells itself."""
        self._attempt = event_id()
        self._lock = threading.Lock()
        self._telling = False
        self._told = threading.Event()
        self._teller: asyncio.Task[None] | None = None
        self._state.forget()

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
        with self._lock:
            self._state.set_progress(fraction, message, stage)
        self._wake()

    def _change(self, name: str, *, error: str | None = None, retry_at: int | None = None) -> None:
        with self._lock:
            self._state.change(name, _now_ms(), error=error, retry_at=retry_at)
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
            with self._lock:
                self._state.set_progress(min(1.0, done / total), seconds_left=round(left, 1))
            self._wake()

    def _wake(self) -> None:
        with self._lock:
            if self._telling:
                return
            self._telling = True
            self._told.clear()
        self._teller = self._begin(self._tell)

    async def _tell(self, broadcaster: Broadcaster) -> None:
        failures = 0
        try:
            while (wait := self._next_wait()) is not None:
                await asyncio.sleep(wait)
                failures = 0 if await self._publish(broadcaster) else failures + 1
                if failures:
                    await asyncio.sleep(_pause(failures))
        except asyncio.CancelledError:
            _logger.warning("what was left to tell of job %s is lost: it was closed", self.id)
            self._rest()
            raise

    async def _publish(self, broadcaster: Broadcaster) -> bool:
        """Publish what is due, and return whether it is off our hands."""
        with self._lock:
            telling = self._state.take(time.monotonic(), _now_ms())
        if telling is None:
            return True
        # Each try of one state has the same id.
        same = f"{self._attempt}-{telling.data['version']}"
        try:
            await broadcaster.publish(
                self._channel, telling.event, telling.data, id=same, key=self._key
            )
        except RealtimeError as error:
            if _may_pass(error):
                _logger.warning("%s of job %s waits: %s", telling.event, self.id, error)
                return False
            _logger.warning("%s of job %s is lost: %s", telling.event, self.id, error)
        with self._lock:
            self._state.delivered(telling)
        return True

    def _rest(self) -> None:
        self._telling = False
        self._told.set()

    def _next_wait(self) -> float | None:
        with self._lock:
            wait = self._state.due(time.monotonic())
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

    def _wake(self) -> None:
        try:
            super()._wake()
        except RealtimeError as error:
            self._put_off(error, failures=1)

    def _put_off(self, error: RealtimeError, failures: int) -> None:
        """Begin to tell later, when the broadcaster may be able to start."""
        if not _may_pass(error):
            _logger.warning("job %s goes on, but cannot be told of: %s", self.id, error)
            self._rest()
            return
        _logger.warning("what there is to tell of job %s waits: %s", self.id, error)
        later = threading.Timer(_pause(failures), self._begin_late, [failures])
        later.daemon = True
        later.start()

    def _begin_late(self, failures: int) -> None:
        try:
            self._begin(self._tell)
        except RealtimeError as error:
            self._put_off(error, failures + 1)

    def report(self, state: str, *, error: str | None = None, retry_at: int | None = None) -> None:
        """Tell a state by hand, for a queue that knows what became of the work.

        It waits until that is published, 5 s at most.

        Args:
            state: queued, started, retrying, completed, failed or cancelled.
            error: what went wrong.
            retry_at: when it is tried again, in Unix milliseconds.

        """
        self._change(state, error=error, retry_at=retry_at)
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


def _may_pass(error: RealtimeError) -> bool:
    return isinstance(error, PublishError) and error.retryable


def _pause(failures: int) -> float:
    return backoff.delay(failures - 1, random.random(), base=0.2, cap=5.0)  # noqa: S311


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_alive: weakref.WeakSet[Job] = weakref.WeakSet()


def _begin_all_anew() -> None:
    for job in _alive:
        job._begin_anew()


os.register_at_fork(after_in_child=_begin_all_anew)
