"""Exponential back-off with full jitter, as pure arithmetic."""

FLOOR = 0.25
"""Shortest wait between two attempts, in seconds."""

CAP = 20.0
"""Longest wait before jitter, in seconds."""


def delay(
    attempt: int, draw: float, *, base: float = 3.0, floor: float = FLOOR, cap: float = CAP
) -> float:
    """Return the seconds to wait before the attempt after `attempt` failures (0, 1, 2 …).

    Full jitter after the cap ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015):
    clipping after the jitter would make clients that reached the cap return together.

    Args:
        attempt: Failures in a row before this attempt.
        draw: Random number in [0, 1).
        base: Upper bound of the first wait, in seconds.
        floor: Shortest wait, in seconds.
        cap: Upper bound of every wait, in seconds.

    """
    # 2.0 ** 63 is far beyond any cap; the limit keeps the power finite.
    bound = min(cap, base * 2.0 ** min(attempt, 63))
    return max(floor, draw * bound)
