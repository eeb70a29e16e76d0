"""Delays between attempts, as pure arithmetic: the caller brings clock and random number."""

FLOOR = 0.25
"""Shortest delay, in seconds."""

CAP = 20.0
"""Longest delay before jitter, in seconds."""


def delay(
    attempt: int, draw: float, *, base: float = 3.0, floor: float = FLOOR, cap: float = CAP
) -> float:
    """Return the delay after a number of failures, in seconds.

    Full jitter after the cap ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015):
    clipping after the jitter would make clients that reached the cap come back together.

    Args:
        attempt: failures in a row before the last one (0, 1, 2 …).
        draw: a random number in [0, 1).
        base: upper bound of the first delay, in seconds.
        floor: shortest delay, in seconds.
        cap: upper bound of every delay, in seconds.

    """
    # 2.0 ** 1024 overflows; 63 is beyond every cap already.
    bound = min(cap, base * 2.0 ** min(attempt, 63))
    return max(floor, draw * bound)
