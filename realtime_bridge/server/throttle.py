"""Limit on repeated log lines: the first of a kind, then silence until a minute was quiet."""

import time
from collections.abc import Callable, Hashable

QUIET_SECONDS = 60.0
"""The seconds without a line of a kind after which the next one is written again."""

MAX_KINDS = 1_000
"""The most kinds whose lines are counted; the one that came longest ago is forgotten first."""


def monotonic() -> float:
    """Return the seconds of the process's clock."""
    # Looked up at each call: a simulation replaces `time.monotonic` for the duration of a run.
    return time.monotonic()


class Throttle:
    """Counter of the lines of each kind.

    Args:
        clock: monotonic clock, in seconds.

    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._kinds: dict[Hashable, tuple[float, int]] = {}
        """Time of the last line of each kind, and the lines of its series."""

    def count(self, kind: Hashable) -> int | None:
        """Count a line; return the lines of the series before if this one begins another.

        None means that the line is to be left out.
        """
        now = self._clock()
        last, count = self._kinds.pop(kind, (-QUIET_SECONDS, 0))
        begins = not count or now - last >= QUIET_SECONDS
        self._kinds[kind] = (now, 1 if begins else count + 1)
        if len(self._kinds) > MAX_KINDS:
            del self._kinds[next(iter(self._kinds))]
        return count if begins else None
