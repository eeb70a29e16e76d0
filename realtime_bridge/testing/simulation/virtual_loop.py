"""Event loop in virtual time: it jumps from one timer to the next."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, TypeVar, TypeVarTuple

from realtime_bridge.testing.simulation.process import Process, VirtualHandle, current_process

TICK = 1e-6
"""Seconds that pass at each timer: code that compares two moments sees the time advance."""

MAX_STEPS = 20_000
"""Callbacks within one second after which the code counts as a busy loop."""

START = 1_000.0
"""First moment of the clock, in seconds."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class BusyLoopError(AssertionError):
    """Callbacks that follow one another without end, while no time passes."""


class VirtualTask(asyncio.Task[T]):
    """Task whose place in a set depends on its number, not on its address in memory."""

    # Sets of tasks, as a task group has one, are walked in the order of their hashes.
    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        return self.number


def set_result(future: asyncio.Future[None]) -> None:
    """End a future that waits for nothing but a moment."""
    if not future.done():
        future.set_result(None)


class VirtualLoop(asyncio.AbstractEventLoop):
    """Event loop without sockets and threads, whose time passes only between callbacks."""

    def __init__(self) -> None:
        self.now: float = START
        self.steps: int = 0
        """Number of callbacks that ran."""
        self.failure: Exception | None = None
        """Error that ends the run, wherever it was raised."""
        self.is_stopping: bool = False
        """True after the end of the run, while the tasks end."""
        self.errors: list[str] = []
        """Messages of exceptions that no task handled."""
        self._ready: deque[VirtualHandle] = deque()
        self._timers: list[tuple[float, int, VirtualHandle]] = []
        self._numbers = count()
        self._frozen: set[Process] = set()
        self._closed = False
        self._limit = MAX_STEPS
        self._limit_until = START + 1

    def run_until_time(self, moment: float) -> None:
        """Run everything that is due until a moment.

        Raises:
            BusyLoopError: callbacks follow one another without end.

        """
        asyncio._set_running_loop(self)
        timers, ready = self._timers, self._ready
        try:
            self._run_ready()
            while timers and timers[0][0] <= moment:
                self.now = now = max(self.now + TICK, timers[0][0])
                while timers and timers[0][0] <= now:
                    handle = heappop(timers)[2]
                    if not handle.is_cancelled:
                        ready.append(handle)
                if ready:
                    self._run_ready()
            self.now = max(self.now, moment)
        finally:
            asyncio._set_running_loop(None)

    def spawn(self, process: Process, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a task in a process."""
        return self.create_task(work, context=process.context)

    async def sleep(self, seconds: float, deadline: float = inf) -> None:
        """Wait some seconds, as asyncio's `sleep` does; it costs less.

        Raises:
            TimeoutError: the deadline comes before.

        """
        end = self.now + seconds
        if not seconds:
            await asyncio.sleep(0)
            return
        passed = self.create_future()
        timer = self.call_at(min(end, deadline), set_result, passed)
        try:
            await passed
        finally:
            timer.cancel()
        if end > deadline:
            raise TimeoutError

    def freeze(self, process: Process) -> None:
        """Stop a process; its callbacks wait."""
        process.is_frozen = True
        self._frozen.add(process)

    def thaw(self, process: Process) -> None:
        """Continue a process; the callbacks that became due meanwhile run now."""
        process.is_frozen = False
        self._frozen.discard(process)
        self._ready.extend(process.parked)
        process.parked.clear()

    def time(self) -> float:
        """Return the moment, in seconds."""
        return self.now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> VirtualHandle:
        """Run a callback after those that are ready."""
        handle = VirtualHandle(callback, args, context, 0.0)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> VirtualHandle:
        """Run a callback as `call_soon` does: one thread runs everything."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> VirtualHandle:
        """Run a callback after some seconds."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> VirtualHandle:
        """Run a callback at a moment."""
        handle = VirtualHandle(callback, args, context, when)
        # The number keeps the order of callbacks at one moment.
        heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], **options: Any
    ) -> "asyncio.Task[T]":
        """Start a task; it belongs to the process of its context."""
        context = options.get("context")
        process = context[current_process] if context else current_process.get()
        # In two steps: asyncio puts the task into a set before its constructor returns.
        task: VirtualTask[T] = VirtualTask.__new__(VirtualTask)
        task.number = next(self._numbers)
        asyncio.Task.__init__(task, coro, loop=self, **options)
        if process:
            process.add_task(task)
        return task

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 -- there are no threads
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Call a function at once; its result is a future, as that of a thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def get_debug(self) -> bool:
        """Return False: the checks of asyncio's debug mode cost time."""
        return False

    def is_running(self) -> bool:
        """Return whether callbacks run."""
        return not self._closed

    def is_closed(self) -> bool:
        """Return whether the loop has ended."""
        return self._closed

    def close(self) -> None:
        """Drop all callbacks."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Store the message of an exception that no task handled."""
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _run_ready(self) -> None:
        ready = self._ready
        while ready:
            if self.failure:
                raise self.failure
            handle = ready.popleft()
            if handle.is_cancelled:
                continue
            if self._frozen and self._is_parked(handle):
                continue
            self.steps += 1
            if self.steps > self._limit:
                self._check_pace(handle)
            try:
                handle.context.run(handle.callback, *handle.args)
            except Exception as error:
                if handle.context.get(current_process) is None:
                    raise  # the simulation itself is wrong
                self.call_exception_handler({"message": "a callback raised", "exception": error})

    def _check_pace(self, handle: VirtualHandle) -> None:
        if self.now < self._limit_until:
            raise BusyLoopError(f"a busy loop at {self.now - START:.3f} s: {handle!r}")
        self._limit_until, self._limit = self.now + 1, self.steps + MAX_STEPS

    def _is_parked(self, handle: VirtualHandle) -> bool:
        process = handle.context.get(current_process)
        if process is None or not process.is_frozen:
            return False
        process.parked.append(handle)
        return True
