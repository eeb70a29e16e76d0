"""Times at which a lost socket may be opened again, in milliseconds."""

from realtime_bridge.protocol import backoff
from realtime_bridge.protocol.client.timing import Timing
from realtime_bridge.protocol.wire.close_codes import CloseCode

SHORT_UPTIMES = 3
"""Number of short connections after which the client polls for a while."""

PLANNED_CODES = (CloseCode.SERVICE_RESTART, CloseCode.DRAINING, CloseCode.ROTATED)
"""Close codes of a deployment: they show no fault of the connection."""

RESTART_CODES = (CloseCode.SERVICE_RESTART, *range(CloseCode.INTERNAL, 4600))
"""Close codes after which the server expects the client to return: docs/specification.md §6."""


class ReconnectPolicy:
    """Record of earlier connections, and the schedule of the next one.

    Args:
        reconnect_interval: Upper bound of the first wait, in milliseconds.
        max_attempts: Failures in a row after which attempts slow to one every 45 s.
        timing: Durations of the client.

    """

    def __init__(self, *, reconnect_interval: int, max_attempts: int, timing: Timing) -> None:
        self.failures: int = 0
        self._base = reconnect_interval / 1_000
        self._max_attempts = max_attempts
        self._timing = timing
        self._step = 0
        self._short_uptimes: list[int] = []
        self._next_ban = timing.ban_min
        self._banned_until = 0

    def reset(self) -> None:
        """Start the back-off again: the network returned, or a user asked for a retry."""
        self.failures = self._step = 0

    def record_uptime(self, since: int, now: int, *, confirmed: bool) -> bool:
        """Record the uptime of a live connection, and return whether it was stable.

        Args:
            since: Time at which the connection became live.
            now: Time of this record.
            confirmed: Whether a message arrived after `welcome`. Some proxies pass the first
                messages alone.

        """
        if now - since < self._timing.stable_uptime:
            return False
        self._next_ban = self._timing.ban_min
        if confirmed:
            self.reset()
        return True

    def record_drop(self, since: int, now: int, *, confirmed: bool) -> None:
        """Record the loss of a live connection."""
        if self.record_uptime(since, now, confirmed=confirmed):
            return
        window = self._timing.short_uptime_window
        self._short_uptimes = [at for at in self._short_uptimes if now - at < window] + [now]
        # Something on the way opens connections and then cuts them: polling works better there.
        if len(self._short_uptimes) >= SHORT_UPTIMES:
            self._short_uptimes = []
            self.pause(now)

    def pause(self, now: int) -> None:
        """Begin a pause; each later one is twice as long, until a connection is stable."""
        self._banned_until = now + self._next_ban
        self._next_ban = min(self._timing.ban_max, 2 * self._next_ban)

    def end_pause(self) -> None:
        """End a pause: the server has another configuration."""
        self._banned_until = 0

    def next(
        self,
        now: int,
        draw: float,
        *,
        code: int = CloseCode.ABNORMAL,
        window: int | None = None,
        planned: bool = False,
    ) -> int:
        """Record a failure, and return the time of the next attempt.

        Args:
            now: Time of the failure.
            draw: Random number in [0, 1).
            code: Close code of the failed connection.
            window: Window of the server's `drain`, if it sent one.
            planned: Whether the server announced the end of a live connection: no failure.

        """
        self.failures += not planned
        if code == CloseCode.TOO_MANY_CONNECTIONS:
            self._banned_until = now + self._timing.connection_limit_ban
        return max(self._banned_until, now + self._wait(draw, code, window))

    def soon(self, now: int, draw: float, within: int) -> int:
        """Return a random time within `within`, so that clients do not connect all at once."""
        return max(self._banned_until, now + round(draw * within))

    def backoff(self, draw: float) -> int:
        """Return the wait of the next step of the back-off."""
        floor, cap = self._timing.backoff_min / 1_000, self._timing.backoff_max / 1_000
        wait = backoff.delay(self._step, draw, base=self._base, floor=floor, cap=cap)
        self._step += 1
        return round(wait * 1_000)

    def _wait(self, draw: float, code: int, window: int | None) -> int:
        if self.failures >= self._max_attempts:
            return round(self._timing.slow_reconnect * (0.8 + 0.4 * draw))
        if code in RESTART_CODES:
            # All clients of a server that restarts lose their connection together.
            return round(draw * (self._timing.restart_spread if window is None else window))
        return self.backoff(draw)
