"""Health of one socket, as far as the messages on that socket show it."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class LinkHealth:
    """Health of one socket; nothing but that socket changes it. Times are in milliseconds.

    Args:
        is_down: True while the server reports that its log or backend is down.
        is_overdue: True while the answer to a question is overdue.
        is_lagging: True while messages take longer than usual.
        quickest: Shortest travel time of a message; None before a message that had its time.

    """

    is_down: bool = False
    is_overdue: bool = False
    is_lagging: bool = False
    quickest: int | None = None

    def measure(self, now: int, sent: int, *, limit: int) -> None:
        """Compare the travel time of a message with that of the quickest one.

        The clocks of both sides differ by an unknown constant, so only differences count.

        Args:
            now: Time of the arrival, by the client's clock.
            sent: Time of sending, by the server's clock.
            limit: Additional travel time from which the link lags.

        """
        travel = now - sent
        self.quickest = travel if self.quickest is None else min(travel, self.quickest)
        self.is_lagging = travel - self.quickest >= limit

    def restart_clock(self) -> None:
        """Forget the quickest message: the clock of another server follows, or the link is quick.

        Clocks drift apart in days. A quick answer shows that the link does not lag after all.
        """
        self.quickest, self.is_lagging = None, False
