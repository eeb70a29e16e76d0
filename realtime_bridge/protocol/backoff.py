"""When to try again: pure arithmetic, no clock and no dice of its own."""

FLOOR = 0.25
"""No attempt follows another sooner than this, in seconds."""

CAP = 20.0
"""The longest wait before jitter, in seconds."""


def delay(attempt: int, draw: float, *, base: float = 3.0, cap: float = CAP) -> float:
    """Return the seconds to wait before the attempt after `attempt` failures (0, 1, 2 …).

    Full jitter after the cap ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015):
    clipping after the jitter would make clients that reached the cap come back together.

    Args:
        attempt: failures in a row before this one.
        draw: a random number in [0, 1).
        base: the upper bound of the first wait, in seconds.
        cap: the upper bound of every wait, in seconds.

    """
    bound = min(cap, base * 2.0 ** min(attempt, 63))
    return max(FLOOR, draw * bound)
