"""Processes of a simulation, and the callbacks that run in them."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

LEAST_TASKS = 64
"""Tasks of a process from which on those that have ended are dropped."""


class VirtualHandle(asyncio.TimerHandle):
    """Callback that waits for its turn, or for its moment."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "moment")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
        moment: float,
    ) -> None:
        self.callback: Callable[..., object] = callback
        self.args: tuple[Any, ...] = args
        self.context: Context = copy_context() if context is None else context
        self.is_cancelled: bool = False
        self.moment: float = moment

    def __repr__(self) -> str:
        return f"<{self.callback!r} at {self.moment:.3f}>"

    def cancel(self) -> None:
        """Drop the callback."""
        self.is_cancelled = True
        self.args = ()

    def cancelled(self) -> bool:
        """Return whether the callback was dropped."""
        return self.is_cancelled

    def when(self) -> float:
        """Return the moment of the callback."""
        return self.moment


class Process:
    """Operating-system process of a simulation: its tasks, its clock, and whether it runs.

    Args:
        name: the name in traces.
        clock_offset: the seconds by which its wall clock is wrong.

    """

    def __init__(self, name: str, *, clock_offset: float = 0.0) -> None:
        self.name: str = name
        self.clock_offset: float = clock_offset
        self.is_frozen: bool = False
        self._tasks: list[asyncio.Task[Any]] = []
        """Tasks in the order of their start; a task may have ended."""
        self._most_tasks = LEAST_TASKS
        self.context: Context = copy_context()
        """Context of everything that this process runs."""
        self.parked: deque[VirtualHandle] = deque()
        """Callbacks that became due while the process was frozen."""
        self.context.run(current_process.set, self)

    @property
    def is_running(self) -> bool:
        """True while a task has not ended."""
        return not all(task.done() for task in self._tasks)

    def add_task(self, task: asyncio.Task[Any]) -> None:
        """Add a task that starts."""
        # A weak reference, or a callback at each end, costs more.
        if len(self._tasks) >= self._most_tasks:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._most_tasks = max(LEAST_TASKS, 2 * len(self._tasks))
        self._tasks.append(task)

    def cancel_tasks(self) -> None:
        """Cancel all tasks, as at the end of the process."""
        for task in list(self._tasks):
            task.cancel()


current_process: ContextVar[Process | None] = ContextVar("current_process", default=None)
"""Process in which the running code runs; None is the simulation itself."""
