"""Background tasks of one broadcaster."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class TaskSet:
    """Tasks that run until they end, or until their owner closes."""

    def __init__(self) -> None:
        # The event loop keeps weak references only: an unreferenced task may be collected.
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task in the running event loop."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    async def finish(self, seconds: float) -> int:
        """Wait for the tasks, cancel those that still run then, and return their number."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        unfinished = len(self._tasks)
        await self.cancel_all()
        return unfinished

    async def cancel_all(self) -> None:
        """Cancel the tasks that still run, and wait until they have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
