"""How fast a job reads, and how often it says so; the time is an argument."""


class Throttle:
    """Holds a reader to a rate of bytes a second (0 is no limit), from the time it `started`."""

    def __init__(self, rate: int, *, started: float) -> None:
        self._rate = rate
        self._started = started

    def pause(self, done: int, now: float) -> float:
        """Return how many seconds to wait, `done` bytes after the start."""
        return max(0.0, self._started + done / self._rate - now) if self._rate else 0.0


class Conflation:
    """Lets one report through per interval; each says all there is to say, so none is missed.

    A report that takes long (nobody answers) makes the next one as much later, so that reporting
    never takes more than half of the time.
    """

    def __init__(self, interval: float, *, started: float) -> None:
        self._interval = interval
        self._next = started + interval

    def due(self, now: float) -> bool:
        """Tell whether to report at `now`."""
        return now >= self._next

    def reported(self, began: float, ended: float) -> None:
        """Note the report that was made between these times."""
        self._next = ended + max(self._interval, ended - began)
