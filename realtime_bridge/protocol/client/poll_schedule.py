"""When a client polls: soon after an event, seldom when nobody looks; times in milliseconds."""

BUSY_MS, BUSY_FOR_MS = 1_000, 10_000
"""Between polls while things happen, and how long after an event they still do."""

IDLE_MS = 60_000
"""Between polls of a page that nobody sees, or whose browser believes there is no network."""

SPREAD = 0.2
"""By how much an interval varies either way, so that clients do not poll together."""

LIMIT_MS = 10_000
"""How long one poll may take."""

SHORTEST_MS, LONGEST_MS = 250, 600_000
"""What a server may ask for is kept within these, so that no answer can stop or spin a client."""

SLOW_DOWN = (429, 503)
"""HTTP's words for "less often": without a number they mean twice the interval."""


class PollSchedule:
    """The polls of one client: one in flight at most.

    Args:
        polling_interval: the application's choice, in milliseconds.

    """

    def __init__(self, polling_interval: int) -> None:
        self.in_flight = False
        self.hidden = self.offline = False
        self._polling_interval = polling_interval
        self._asked: int | None = None
        self._last_event: int | None = None
        self._failing = False
        self._not_before = 0

    @property
    def usual(self) -> int:
        """The milliseconds between polls when nothing happens."""
        usual = max(self._asked or 0, self._polling_interval)
        return max(IDLE_MS, usual) if self.hidden else usual

    def begin(self) -> None:
        """Note that a poll is on its way."""
        self.in_flight = True

    def answered(self, asked: int | None) -> None:
        """Note that it was answered; `asked` is the wait that the server wishes: it wins."""
        self.in_flight = self._failing = False
        self._asked = None if asked is None else min(LONGEST_MS, max(SHORTEST_MS, asked))

    def failed(
        self, now: int, draw: float, *, status: int | None = None, retry_after: int | None = None
    ) -> None:
        """Note that it failed: the next one is in no hurry, and not before what the server says."""
        self.in_flight, self._failing = False, True
        if retry_after is None and status in SLOW_DOWN:
            retry_after = 2 * self._polling_interval
        if retry_after is not None:
            self._not_before = now + round(min(LONGEST_MS, retry_after) * (1 + SPREAD * draw))

    def event_received(self, now: int) -> None:
        """Note that there was an event."""
        self._last_event = now

    def interval(self, now: int) -> int:
        """Return the milliseconds between polls now."""
        if self._asked is not None:
            interval = self._asked
        elif self._busy(now):
            interval = min(BUSY_MS, self._polling_interval)
        else:
            interval = self._polling_interval
        return max(IDLE_MS, interval) if self.hidden or self.offline else interval

    def next(self, now: int, draw: float) -> int:
        """Return when to poll next."""
        wait = round(self.interval(now) * (1 - SPREAD + 2 * SPREAD * draw))
        return max(self._not_before, now + wait)

    def soon(self, now: int, draw: float, within: int) -> int:
        """Return when to poll, if it shall be within so long, at random."""
        return max(self._not_before, now + round(draw * within))

    def _busy(self, now: int) -> bool:
        recently = self._last_event is not None and now - self._last_event < BUSY_FOR_MS
        return recently and not self._failing
