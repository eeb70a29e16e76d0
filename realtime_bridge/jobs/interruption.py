"""Cancellation of the task that runs a block, in the manner of `asyncio.timeout`."""

import asyncio


class TaskInterruption:
    """Cancellation of the present task from elsewhere, which others' cancellations do not hide."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task  # a block runs in a task
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._cancellations = task.cancelling()
        """Requests of others at the beginning of the block."""
        self._is_interrupted = False
        self._has_left = False

    def interrupt_soon(self) -> None:
        """Cancel the task, once; any thread may call it."""
        self._loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if not self._has_left and not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel()

    async def is_cause_of(self, error: BaseException | None) -> bool:
        """Leave the block, and return whether its error comes from the interruption alone."""
        self._has_left = True
        if not self._is_interrupted:
            return False
        is_cancelled_by_others = self._task.uncancel() > self._cancellations
        if error is None and not is_cancelled_by_others:
            # The block ended before its cancellation arrived: before Python 3.13, that comes now.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if self._task.cancelling() > self._cancellations:
                    raise
        return isinstance(error, asyncio.CancelledError) and not is_cancelled_by_others
