"""Event loop on a daemon thread, for callers without a loop."""

import asyncio
import logging
from concurrent.futures import Future

from realtime_bridge.backend.native_threads import (
    create_event_loop,
    create_future,
    start_native_thread,
    wait_for,
)
from realtime_bridge.errors import PublishError

_logger = logging.getLogger("realtime_bridge.background")


class LoopThread:
    """Thread that runs an event loop until `stop`, whatever its callbacks raise.

    Args:
        name: the thread's name.

    Raises:
        PublishError: the interpreter ends, and starts no thread.

    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_stopping = False
        self._created: Future[asyncio.AbstractEventLoop] = create_future()
        try:
            self._join = start_native_thread(self._run, name)
        except RuntimeError as error:  # from Python 3.12 on, at the end of the interpreter
            raise PublishError(f"No thread can start ({error}): publish before the end") from error
        wait_for(self._created)
        self.loop: asyncio.AbstractEventLoop = self._created.result()

    def stop(self) -> None:
        """End the thread, and close its loop."""
        self._is_stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._join()
        self.loop.close()

    def _run(self) -> None:
        try:
            loop = create_event_loop()
        except BaseException as error:
            self._created.set_exception(error)
            return
        self._created.set_result(loop)
        while not self._is_stopping:
            try:
                loop.run_forever()
            except BaseException:
                # A task that raises SystemExit or KeyboardInterrupt ends `run_forever`. Without
                # the loop, all callers in other threads would wait without end.
                _logger.exception("event loop ended, restarting thread=%s", self._name)
