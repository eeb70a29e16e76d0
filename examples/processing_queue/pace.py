"""Limits of a job's reading speed and of its reports; the time is an argument."""


class Throttle:
    """Limit of a reading speed.

    Args:
        rate: bytes per second; 0 is no limit.
        started: time of the first read, in seconds.

    """

    def __init__(self, rate: int, *, started: float) -> None:
        self._rate = rate
        self._started = started

    def pause(self, done: int, now: float) -> float:
        """Return the seconds to wait after `done` bytes."""
        return max(0.0, self._started + done / self._rate - now) if self._rate else 0.0


class Conflation:
    """Limit of one report per interval; each report has the whole state, so any may be skipped.

    A slow report, to a server that does not answer, delays the next by the same time. So reports
    never take more than half of the time.
    """

    def __init__(self, interval: float, *, started: float) -> None:
        self._interval = interval
        self._next = started + interval

    def due(self, now: float) -> bool:
        """Return whether a report is due at `now`."""
        return now >= self._next

    def reported(self, start: float, end: float) -> None:
        """Record a report by its times."""
        self._next = end + max(self._interval, end - start)
