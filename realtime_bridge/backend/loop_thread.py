"""Event loop on a daemon thread, for callers without a loop."""

import asyncio
import logging
import threading

_logger = logging.getLogger("realtime_bridge.background")


class LoopThread:
    """Thread that runs an event loop until `stop`, whatever its callbacks raise.

    Args:
        name: the thread's name.

    """

    def __init__(self, name: str) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and close its loop."""
        self._is_stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self.loop.run_forever()
            except BaseException:
                # A task that raises SystemExit or KeyboardInterrupt ends `run_forever`. Without
                # the loop, all callers in other threads would wait without end.
                _logger.exception("event loop ended, restarting thread=%s", self._thread.name)
