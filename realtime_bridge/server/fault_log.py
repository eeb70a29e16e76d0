"""Log lines about mistakes in code that a request reaches: one traceback, not one per request."""

import logging
import traceback

from realtime_bridge.server.throttle import Throttle

_logger = logging.getLogger("realtime_bridge.server")


class FaultLog:
    """Reporter of exceptions: one of each class and line of code, until a minute was quiet."""

    def __init__(self) -> None:
        self._throttle = Throttle()

    def report(self, event: str, error: BaseException, **fields: str) -> None:
        """Count an exception; log it with its traceback if a minute was quiet before.

        Args:
            event: what failed.
            error: the exception.
            fields: details for the line.

        """
        earlier = self._throttle.count((event, type(error), _place(error)))
        if earlier is not None:
            pairs = "".join(f" {name}={value}" for name, value in fields.items())
            _logger.error("%s:%s earlier=%d", event, pairs, earlier, exc_info=error)


def _place(error: BaseException) -> tuple[str, int | None] | None:
    """Return the file and the line that raised the exception."""
    last = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        last = (frame.f_code.co_filename, line)
    return last
