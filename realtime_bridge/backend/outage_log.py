"""Log lines of an outage: one at its start, and one at its end."""

import logging
import time
from collections.abc import Callable

from realtime_bridge.errors import RealtimeError

_CLOSED_HANDLER = "the handler is closed"
"""End of uvloop's RuntimeError about a connection that was reset."""


def is_connection_error(error: BaseException) -> bool:
    """Return whether an error is an ordinary loss of a connection, and no mistake in code."""
    if isinstance(error, RuntimeError):
        return _CLOSED_HANDLER in str(error)
    return isinstance(error, RealtimeError | OSError | EOFError)


def _monotonic() -> float:
    # Looked up at each call: a simulation replaces `time.monotonic` for the duration of a run.
    return time.monotonic()


class OutageLog:
    """Reporter of repeated failures: the first of each class is logged, then the return to work.

    Args:
        logger: the logger of the lines.
        start: the event of the first line, such as `feed lost`.
        end: the event of the last line, such as `feed works again`.
        quiet: the seconds without a failure after which a success ends the outage. Single
            successes between failures end nothing, so that they cause no lines. A failure after
            a success and these seconds begins another outage.
        clock: monotonic clock, in seconds.

    """

    def __init__(
        self,
        logger: logging.Logger,
        start: str,
        end: str,
        *,
        quiet: float = 0.0,
        clock: Callable[[], float] = _monotonic,
    ) -> None:
        self.failures: int = 0
        """Number of failures in the outage; 0 while all works."""
        self._logger = logger
        self._start = start
        self._end = end
        self._quiet = quiet
        self._clock = clock
        self._began = self._last = 0.0
        self._worked: float | None = None
        """Time of the first success after the last failure."""
        self._classes: set[type] = set()

    def failed(self, error: BaseException | str, **fields: object) -> None:
        """Count a failure, and log it with these fields, if it is the first of its class."""
        now = self._clock()
        if self._worked is not None and now - self._last >= self._quiet:
            self._finish(self._worked)  # long ago: only the call that reports it was missing
        self._last, self._worked = now, None
        self.failures += 1
        if self.failures == 1:
            self._began = self._last
            self._classes.clear()
        if type(error) in self._classes:
            return
        self._classes.add(type(error))
        # Ordinary errors of a network need no traceback; a mistake in code is found by it alone.
        mistake = isinstance(error, BaseException) and not is_connection_error(error)
        self._logger.warning(
            "%s%s error=%r",
            self._start,
            _pairs(fields),
            str(error) or type(error).__name__,
            exc_info=error if mistake and isinstance(error, BaseException) else None,
        )

    def works(self, **fields: object) -> None:
        """Log the end of the outage, if there is one and the last failure is long enough ago."""
        if not self.failures:
            return
        now = self._clock()
        if self._worked is None:
            self._worked = now
        if now - self._last >= self._quiet:
            self._finish(now, **fields)

    def _finish(self, at: float, **fields: object) -> None:
        # A warning too: who sees the first line by default has to see the last one.
        self._logger.warning(
            "%s%s failures=%d outage_s=%.1f",
            self._end,
            _pairs(fields),
            self.failures,
            at - self._began,
        )
        self.failures = 0
        self._worked = None


def _pairs(fields: dict[str, object]) -> str:
    return "".join(f" {name}={value}" for name, value in fields.items())
