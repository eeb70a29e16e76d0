"""Rules of failover: the failures that switch to another target, the probes that fail back."""

from collections import deque

FAILURES = 5
WINDOW_SECONDS = 30.0
"""Failed pushes in a row, and the time in which they fall, that make a target unusable."""

PROBE_SECONDS = 30.0
"""Seconds between two probes of the first target."""

PROBES = 3
"""Successful probes in a row before events go through the first target again."""

MAX_PROBES = 24
STEADY_SECONDS = 600.0
"""A target that fails again within this time needs twice as many probes, up to the maximum."""


class CircuitBreaker:
    """Failures of the active target; each method takes the time, in seconds."""

    def __init__(self) -> None:
        self._failures: deque[float] = deque(maxlen=FAILURES)

    def record_success(self) -> None:
        """Record an accepted push."""
        self._failures.clear()

    def record_failure(self, now: float) -> bool:
        """Record a failed push, and return whether the target is unusable."""
        self._failures.append(now)
        return len(self._failures) == FAILURES and now - self._failures[0] <= WINDOW_SECONDS


class FailbackPolicy:
    """Probes of the first target while another one is active."""

    def __init__(self) -> None:
        self._needed = PROBES
        self._successes = 0
        self._next_probe = 0.0
        self._failed_back_at: float | None = None

    def record_switch(self, now: float) -> None:
        """Record that events go through another target from now on."""
        since = self._failed_back_at
        relapsed = since is not None and now - since < STEADY_SECONDS
        self._needed = min(MAX_PROBES, 2 * self._needed) if relapsed else PROBES
        self._successes = 0
        self._next_probe = now + PROBE_SECONDS

    def is_due(self, now: float) -> bool:
        """Return whether a probe is due; the next one is due an interval after a true result."""
        if now < self._next_probe:
            return False
        # Set here, not by the result: concurrent publishes must not probe at the same time.
        self._next_probe = now + PROBE_SECONDS
        return True

    def record_probe(self, now: float, *, accepted: bool) -> bool:
        """Record the result of a probe, and return whether to fail back."""
        self._successes = self._successes + 1 if accepted else 0
        if self._successes < self._needed:
            return False
        self._failed_back_at = now
        return True
