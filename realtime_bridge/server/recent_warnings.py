"""Last warnings and errors in the log of this process, for the dashboard."""

import logging
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

CAPACITY = 50
"""Number of lines that are kept."""

MAX_TEXT = 500
"""Longest text of one line, in characters."""


class RecentWarnings(logging.Handler):
    """Handler that keeps the last warnings and errors; tracebacks stay in the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[dict[str, Any]] = deque(maxlen=CAPACITY)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        # Python prints warnings of a program without handlers: this one must not silence them.
        if logging.lastResort and not _has_other_handler(record.name):
            logging.lastResort.handle(record)
        try:
            text = record.getMessage()[:MAX_TEXT]
        except Exception:  # a mistake in the line: its caller must not fail, as with any handler
            self.handleError(record)
            return
        # JSON has no lone surrogates, which Python makes of names of files that are not UTF-8.
        text = text.encode(errors="replace").decode()
        time = round(record.created * 1_000)
        self._lines.append({"time": time, "level": record.levelname, "text": text})

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines, the last one first."""
        return list(reversed(self._lines))

    @contextmanager
    def listening(self) -> Generator[None]:
        """Keep the lines of the library's loggers."""
        logger = logging.getLogger("realtime_bridge")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)


def _has_other_handler(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger:
        if any(not isinstance(handler, RecentWarnings) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False
