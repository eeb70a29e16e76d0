"""Rate limit of one client's messages: a token bucket."""

from msgspec import Struct

BURST_SECONDS = 2.0
"""A client may send the messages of this many seconds at once."""


class RateLimit(Struct, gc=False):
    """Messages that one client may still send now; below zero, it sent too many.

    Args:
        rate: the messages of one second.
        updated_at: the moment of the last update, in seconds of a monotonic clock.
        allowance: the messages that were left then.

    """

    rate: float
    updated_at: float
    allowance: float

    @classmethod
    def full(cls, rate: float, now: float) -> "RateLimit":
        """Return the limit of a client that sent nothing yet."""
        return cls(rate, now, BURST_SECONDS * rate)

    def spend(self, now: float) -> bool:
        """Take one message, and return whether it was within the limit."""
        allowance = self.allowance + (now - self.updated_at) * self.rate
        self.allowance, self.updated_at = min(BURST_SECONDS * self.rate, allowance) - 1, now
        return self.allowance >= 0
