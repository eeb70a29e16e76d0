"""Thread on which a broadcaster of blocking code works."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from realtime_bridge.backend.loop_thread import LoopThread
from realtime_bridge.backend.native_threads import create_future, wait_for
from realtime_bridge.errors import PublishError
from realtime_bridge.publishing.broadcaster import Broadcaster

T = TypeVar("T")


class BroadcasterThread:
    """Thread, event loop and broadcaster of one process.

    Args:
        broadcaster: the broadcaster, not open yet.

    Raises:
        PublishError: the broadcaster cannot be opened.

    """

    def __init__(self, broadcaster: Broadcaster) -> None:
        self.broadcaster = broadcaster
        self._thread = LoopThread("realtime-bridge")
        self._loop = self._thread.loop
        self._tasks: dict[Future[Any], asyncio.Task[Any] | None] = {}
        try:
            self._run_to_end(broadcaster.__aenter__())
        except BaseException:
            self._thread.stop()
            raise

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop; faster than `run_coroutine_threadsafe`."""
        future: Future[T] = create_future()
        self._tasks[future] = None
        self._loop.call_soon_threadsafe(self._loop.create_task, self._run(work, future))
        return future

    async def _run(self, work: Coroutine[Any, Any, T], future: Future[T]) -> None:
        # The dictionary holds the task: the loop itself keeps weak references only.
        self._tasks[future] = asyncio.current_task()
        try:
            result = await work
        except asyncio.CancelledError as error:
            cancelled = PublishError("The call was cancelled: publish again with the same id")
            cancelled.__cause__ = error
            future.set_exception(cancelled)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            del self._tasks[future]

    def stop(self) -> None:
        """Wait for the work in progress, close the broadcaster, and end the thread."""
        # Publishes of other threads wait for their results: they must not be cancelled.
        for future in list(self._tasks):
            wait_for(future)
        try:
            self._run_to_end(self.broadcaster.__aexit__(None, None, None))
        finally:
            self._thread.stop()

    def _run_to_end(self, work: Coroutine[Any, Any, object]) -> None:
        future = self.submit(work)
        wait_for(future)
        future.result()
