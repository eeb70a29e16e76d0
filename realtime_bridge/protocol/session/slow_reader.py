"""Progress of a client that reads more slowly than events arrive."""

from msgspec import Struct

from realtime_bridge.protocol.session.timing import SessionTiming

NEVER = float("inf")
"""A moment that does not come."""


class SlowReader(Struct, gc=False):
    """Progress of one slow client; most connections never have this object.

    Args:
        slow_at: the moment at which the client was marked slow.
        stalled_since: the moment of its last progress; infinity after it has read everything.
        next_check: the moment of the next check for progress; infinity likewise.
        unsent: the bytes that waited for the client at the last check.

    """

    slow_at: float
    stalled_since: float
    next_check: float
    unsent: int

    @property
    def is_behind(self) -> bool:
        """True while bytes from before wait for the client."""
        return self.stalled_since != NEVER

    def next_wakeup(self, timing: SessionTiming) -> float:
        """Return the moment at which the client is checked, or disconnected."""
        return min(self.next_check, self.stalled_since + timing.stalled)

    def mark_progress(self, now: float, *, unsent: int) -> None:
        """Store that the client has read some bytes."""
        self.stalled_since = now if unsent else NEVER
        if not unsent:
            self.next_check = NEVER

    def check(self, now: float, timing: SessionTiming, *, unsent: int) -> bool:
        """Compare the unsent bytes; return whether the client has stalled for too long."""
        if not self.is_behind:
            return False
        # A transport reports only that its buffer is empty, so partial progress is polled.
        self.next_check = now + timing.progress_check
        if unsent < self.unsent:
            self.mark_progress(now, unsent=unsent)
        self.unsent = unsent
        return now >= self.stalled_since + timing.stalled
