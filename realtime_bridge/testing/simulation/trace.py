"""Log lines of the library, as lines of a trace."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from realtime_bridge.testing.simulation.process import current_process

LogLine = Callable[[str, str], None]


@contextmanager
def trace_logs(log_line: LogLine | None) -> Iterator[None]:
    """Pass the log lines of the library to a function; without one, write none."""
    logger = logging.getLogger("realtime_bridge")
    before = logging.root.manager.disable, logger.level, logger.propagate
    handler = _TraceHandler(log_line) if log_line else None
    if handler:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    else:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        if handler:
            logger.removeHandler(handler)
        logging.disable(before[0])
        logger.level, logger.propagate = before[1:]


class _TraceHandler(logging.Handler):
    def __init__(self, log_line: LogLine) -> None:
        super().__init__()
        self._log_line = log_line

    def emit(self, record: logging.LogRecord) -> None:
        process = current_process.get()
        error = f": {record.exc_info[1]!r}" if record.exc_info else ""
        self._log_line(process.name if process else "", f"log: {record.getMessage()}{error}")
