"""When a carrier of events is given up for another, and when it is trusted again."""

from collections import deque

FAILURES = 5
WINDOW_SECONDS = 30.0
"""So many failed pushes in a row within so long, and a carrier is given up."""

PROBE_SECONDS = 30.0
"""How often the carrier that is wanted most is tried again."""

PROBES = 3
"""How many of these tries in a row have to go well before it is gone back to."""

MOST_PROBES = 24
STEADY_SECONDS = 600.0
"""A carrier that fails again so soon has to prove itself twice as often, up to the most."""


class CircuitBreaker:
    """Counts failures of the carrier in use; each method takes the time, in seconds."""

    def __init__(self) -> None:
        self._failed: deque[float] = deque(maxlen=FAILURES)

    def succeeded(self) -> None:
        """Note a push that was taken."""
        self._failed.clear()

    def failed(self, now: float) -> bool:
        """Note a push that was not taken, and tell whether the carrier is to be given up."""
        self._failed.append(now)
        return len(self._failed) == FAILURES and now - self._failed[0] <= WINDOW_SECONDS


class FailbackPolicy:
    """Decides when the carrier that is wanted most may carry again."""

    def __init__(self) -> None:
        self._needed = PROBES
        self._went_well = 0
        self._next = 0.0
        self._returned: float | None = None

    def left(self, now: float) -> None:
        """Note that it was given up."""
        relapsed = self._returned is not None and now - self._returned < STEADY_SECONDS
        self._needed = min(MOST_PROBES, 2 * self._needed) if relapsed else PROBES
        self._went_well = 0
        self._next = now + PROBE_SECONDS

    def due(self, now: float) -> bool:
        """Tell whether it is time to try it, and count on that it will be."""
        if now < self._next:
            return False
        self._next = now + PROBE_SECONDS
        return True

    def tried(self, now: float, *, well: bool) -> bool:
        """Note how a try went, and tell whether to go back."""
        self._went_well = self._went_well + 1 if well else 0
        if self._went_well < self._needed:
            return False
        self._returned = now
        return True
