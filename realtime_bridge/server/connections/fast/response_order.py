"""Requests of one connection, in the order of their responses."""

from collections import deque

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_SLACK_SECONDS = 0.1
"""Inaccuracy of the kernel's times, and of the moment at which a response is complete."""


class ResponseOrder:
    """Requests without a complete response, oldest first; uvicorn knows the last one alone."""

    def __init__(self) -> None:
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._answered_at: float | None = None
        """Moment of the last complete response; None before the first one."""

    @property
    def is_first(self) -> bool:
        """True until the first request of the connection."""
        return not self._unanswered and self._answered_at is None

    def add(self, cycle: RequestResponseCycle) -> None:
        """Add a request."""
        self._unanswered.append(cycle)

    def complete(self, now: float) -> None:
        """Complete the response to the oldest request; a request answered at once is in no list.

        Args:
            now: the moment, in seconds of the monotonic clock.

        """
        if self._unanswered:
            self._unanswered.popleft()
        self._answered_at = now

    def delayed(self, waited: float, now: float) -> bool:
        """Return whether a request came before the last response, for which it had to wait.

        Its wait is no sign of this process's load: one client could have all others refused.

        Args:
            waited: the seconds for which the request waited.
            now: the moment, in seconds of the monotonic clock.

        """
        if self._unanswered or self._answered_at is None:
            return True
        return waited > now - self._answered_at + _SLACK_SECONDS

    def accepts_rejection(self, *, in_body: bool) -> bool:
        """Return whether a rejection would be read as the response to the request that arrives.

        Args:
            in_body: whether the body of that request arrives: it is the last one in this list.

        """
        if not self._unanswered:
            return True
        return in_body and len(self._unanswered) == 1 and not self._unanswered[0].response_started

    def disconnect(self) -> None:
        """Inform the application that nothing more can be written."""
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
