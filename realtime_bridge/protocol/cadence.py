"""When a client polls: soon after an event, seldom when nobody looks; times in milliseconds."""

BUSY_MS, BUSY_FOR_MS = 1_000, 10_000
"""Between polls while things happen, and how long after an event they still do."""

IDLE_MS = 60_000
"""Between polls of a page that nobody sees, or that has no network."""

SPREAD = 0.2
"""By how much an interval varies either way, so that clients do not poll together."""

LIMIT_MS = 10_000
"""How long one poll may take."""


class Cadence:
    """The polls of one client: one in flight at most.

    Args:
        polling_interval: the application's choice, in milliseconds.

    """

    def __init__(self, polling_interval: int) -> None:
        self.in_flight = False
        self.idle = False
        self._polling_interval = polling_interval
        self._asked: int | None = None
        self._last_event: int | None = None

    def begin(self) -> None:
        """Note that a poll is on its way."""
        self.in_flight = True

    def end(self, *, asked: int | None) -> None:
        """Note that it is over; `asked` is the wait that the server wishes: it wins."""
        self.in_flight = False
        self._asked = asked

    def happened(self, now: int) -> None:
        """Note that there was an event."""
        self._last_event = now

    def interval(self, now: int) -> int:
        """Return the milliseconds between polls now."""
        if self._asked is not None:
            return self._asked
        if self.idle:
            return max(IDLE_MS, self._polling_interval)
        if self._last_event is not None and now - self._last_event < BUSY_FOR_MS:
            return min(BUSY_MS, self._polling_interval)
        return self._polling_interval

    def next(self, now: int, draw: float) -> int:
        """Return when to poll next."""
        return now + round(self.interval(now) * (1 - SPREAD + 2 * SPREAD * draw))
