"""Exponential backoff with jitter, as a pure function."""

FLOOR = 0.25
"""Shortest wait, in s: a jitter near 0 must not become a busy loop."""

CAP = 20.0
"""Longest wait before the jitter, in s."""


def delay(attempt: int, draw: float, *, base: float = 3.0, cap: float = CAP) -> float:
    """Return the time to wait before the next attempt, in s.

    Full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Args:
        attempt: consecutive failures before this one: 0, 1, 2 …
        draw: a random number in [0, 1).
        base: upper bound of the first wait, in s.
        cap: upper bound of every wait, in s.

    """
    # The cap comes before the jitter: afterwards, all clients at the cap would retry together.
    # The exponent is bounded, as a float power over 1 023 raises OverflowError.
    bound = min(cap, base * 2.0 ** min(attempt, 63))
    return max(FLOOR, draw * bound)
