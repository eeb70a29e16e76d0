"""Times of a client's polls, in milliseconds."""

from realtime_bridge.protocol.client.timing import Timing

SPREAD = 0.2
"""Random variation of an interval in both directions, so that clients do not poll together."""

SLOW_DOWN = (429, 503)
"""HTTP statuses that ask for fewer requests: without `Retry-After` they double the interval."""


class PollSchedule:
    """Schedule of one client's polls, with at most one poll in flight.

    Args:
        polling_interval: The application's choice, in milliseconds.
        timing: Durations of the client.

    """

    def __init__(self, polling_interval: int, timing: Timing) -> None:
        self.in_flight: bool = False
        self.hidden: bool = False
        self.offline: bool = False
        self.usual: int = polling_interval
        """Interval between polls while no events arrive."""
        self._timing = timing
        self._polling_interval = polling_interval
        self._requested: int | None = None
        self._last_event: int | None = None
        self.failing: bool = False
        """True after a failed poll, until another one succeeds."""
        self._not_before = 0

    def set_reach(self, *, hidden: bool, offline: bool) -> None:
        """Record whether the page is hidden, and whether the browser reports no network."""
        self.hidden, self.offline = hidden, offline
        self._update_usual()

    def begin(self) -> None:
        """Record the start of a poll."""
        self.in_flight = True

    def answered(self, requested: int | None) -> None:
        """Record a poll's success.

        Args:
            requested: Wait that the server asked for; it takes precedence over the options.

        """
        self.in_flight = self.failing = False
        if requested is not None:
            # The limits keep a faulty server from stopping a client, or making it spin.
            requested = max(self._timing.requested_interval_min, requested)
            requested = min(self._timing.requested_interval_max, requested)
        self._requested = requested
        self._update_usual()

    def failed(
        self, now: int, draw: float, *, status: int | None = None, retry_after: int | None = None
    ) -> None:
        """Record a poll's failure.

        The next poll follows after the usual interval, or after the server's `Retry-After`.
        """
        self.in_flight, self.failing = False, True
        if retry_after is None and status in SLOW_DOWN:
            retry_after = 2 * self._polling_interval
        if retry_after is not None:
            wait = min(self._timing.requested_interval_max, retry_after)
            self._not_before = now + round(wait * (1 + SPREAD * draw))

    def event_received(self, now: int) -> None:
        """Record an event."""
        self._last_event = now

    def interval(self, now: int) -> int:
        """Return the interval between polls at `now`."""
        if self._requested is not None:
            interval = self._requested
        elif self._is_busy(now):
            interval = min(self._timing.busy_interval, self._polling_interval)
        else:
            interval = self._polling_interval
        if self.hidden or self.offline:
            return max(self._timing.idle_interval, interval)
        return interval

    def next(self, now: int, draw: float) -> int:
        """Return the time of the next poll."""
        wait = round(self.interval(now) * (1 - SPREAD + 2 * SPREAD * draw))
        return max(self._not_before, now + wait)

    def soon(self, now: int, draw: float, within: int) -> int:
        """Return a random time for a poll within `within` milliseconds."""
        return max(self._not_before, now + round(draw * within))

    def _update_usual(self) -> None:
        usual = max(self._requested or 0, self._polling_interval)
        self.usual = max(self._timing.idle_interval, usual) if self.hidden else usual

    def _is_busy(self, now: int) -> bool:
        if self._last_event is None or self.failing:
            return False
        return now - self._last_event < self._timing.busy_period
