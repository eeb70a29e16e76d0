"""Owner of background work: it restarts what must never end, and reports each failure."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec import Struct

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.protocol import backoff

_logger = logging.getLogger("realtime_bridge.background")

T = TypeVar("T")


class SupervisorTiming(Struct, frozen=True, kw_only=True):
    """Durations of restarts, in seconds.

    Args:
        restart: the longest wait before the first restart; the wait doubles with each failure.
        longest: the longest wait before any restart.
        settled: the time after which restarted work counts as working.
        cancel_again: the time that cancelled work has to end, before another cancellation.

    """

    restart: float = 0.5
    longest: float = 5.0
    settled: float = 1.0
    cancel_again: float = 1.0


_TIMING = SupervisorTiming()


class Supervisor:
    """Owner of the tasks of one part; an async context manager that ends them.

    Args:
        timing: durations of restarts.

    """

    def __init__(self, *, timing: SupervisorTiming = _TIMING) -> None:
        self._timing = timing
        # The event loop keeps weak references only: an unreferenced task may be collected.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._outages: dict[str, OutageLog] = {}
        self._failing: dict[str, None] = {}
        self._confirmations: dict[str, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def running(self) -> int:
        """Number of the tasks that run."""
        return len(self._tasks)

    @property
    def failing(self) -> list[str]:
        """Names of the work that ended and does not work again yet."""
        return list(self._failing)

    def run(
        self, name: str, work: Callable[[], Coroutine[Any, Any, Any]], *, confirms: bool = False
    ) -> None:
        """Run work that must never end, and restart it after any end until `close`.

        Args:
            name: name of the work, unique in this supervisor; also that of its task.
            work: starts the work.
            confirms: the work calls `confirm` once it works, because it first has to connect.
                Otherwise it counts as working after the time `settled`.

        """
        self._outages[name] = OutageLog(
            _logger, "background work ended, restarting", "background work runs again"
        )
        self._start(f"restarts of {name}", self._keep_running(name, work, confirms=confirms))

    def confirm(self, name: str) -> None:
        """Count the work of this name as working, from now on."""
        self._failing.pop(name, None)
        if confirmation := self._confirmations.get(name):
            confirmation.set()

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start work that ends; its unexpected exception is logged, whether awaited or not."""
        task = self._start(name, work)
        task.add_done_callback(_log_failure)
        return task

    async def finish(self, seconds: float) -> int:
        """Wait for the work, cancel what still runs then, and return the number of its tasks."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        unfinished = len(self._tasks)
        await self.close()
        return unfinished

    async def close(self) -> None:
        """Cancel the tasks, and wait until they have ended."""
        current = asyncio.current_task()
        # Work that ends may start other work on its way out, so look again. And a library may lose
        # a cancellation: before Python 3.12, `asyncio.wait_for` does if its result comes at once.
        while tasks := [task for task in self._tasks if task is not current]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=self._timing.cancel_again)

    def _start(self, name: str, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _keep_running(
        self, name: str, work: Callable[[], Coroutine[Any, Any, Any]], *, confirms: bool
    ) -> None:
        while True:
            # A task of its own: a cancellation inside the work ends that task, and not this loop.
            attempt = asyncio.get_running_loop().create_task(work(), name=name)
            try:
                await self._watch(name, attempt, confirms=confirms)
            finally:
                attempt.cancel()
                await asyncio.wait([attempt])
            await asyncio.sleep(self._record_end(name, attempt))

    async def _watch(self, name: str, attempt: "asyncio.Task[Any]", *, confirms: bool) -> None:
        """Wait until the attempt has ended; end the outage when the work has settled."""
        confirmation = self._confirmations[name] = asyncio.Event()
        if confirms:
            await _wait_for_either(confirmation, attempt)
        # Work that connects and fails at once, again and again, is one outage.
        ended, _ = await asyncio.wait([attempt], timeout=self._timing.settled)
        if not ended:
            self._failing.pop(name, None)
            self._outages[name].works(work=name)
        await asyncio.wait([attempt])

    def _record_end(self, name: str, attempt: "asyncio.Task[Any]") -> float:
        """Report the end of an attempt, and return the seconds until the next one."""
        outage, timing = self._outages[name], self._timing
        outage.failed(_reason(attempt), work=name)
        self._failing[name] = None
        return backoff.delay(
            outage.failures - 1,
            random.random(),  # noqa: S311 -- jitter
            base=timing.restart,
            floor=timing.restart / 2,
            cap=timing.longest,
        )


async def _wait_for_either(event: asyncio.Event, task: "asyncio.Task[Any]") -> None:
    def wake(_: object) -> None:
        event.set()

    task.add_done_callback(wake)
    await event.wait()


def _reason(attempt: "asyncio.Task[Any]") -> BaseException | str:
    if attempt.cancelled():
        return "it was cancelled"
    return attempt.exception() or "it returned"


def _log_failure(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and (error := task.exception()):
        _logger.error("background work failed work=%s", task.get_name(), exc_info=error)
