"""When a lost socket may be tried again, given how earlier ones fared; times in milliseconds."""

from realtime_bridge.protocol import backoff
from realtime_bridge.protocol.wire.close_codes import CloseCode

STABLE_MS = 10_000
"""A connection that lasted so long, and said something, was a good one."""

SHORT_LIVES, SHORT_LIVES_MS = 3, 120_000
"""So many short connections within so long: something in between opens and then kills them."""

BAN_MS, MAX_BAN_MS = 60_000, 600_000
"""No socket for so long then, doubling."""

CROWDED, CROWDED_MS = CloseCode.TOO_MANY_CONNECTIONS, 600_000
"""The user has too many connections: this client polls for so long."""

TIRED_MS = 60_000
"""Between attempts, after too many failures in a row, whatever the last one was."""

SPREAD_CODES = range(4500, 4600)
"""Close codes after which clients reconnect at spread moments (docs/specification.md)."""

RESTART_MS = 5_000
"""ConnectionRegistry of a server that restarts spread their return over so long, unless it said otherwise."""


class ReconnectPolicy:
    """What is remembered of earlier connections.

    Args:
        reconnect_interval: the upper bound of the first wait.
        max_attempts: failures in a row after which attempts slow to one a minute.

    """

    def __init__(self, *, reconnect_interval: int, max_attempts: int) -> None:
        self.failures = 0
        self._base = reconnect_interval / 1_000
        self._max_attempts = max_attempts
        self._step = 0
        self._short_lives: list[int] = []
        self._next_ban = BAN_MS
        self._banned_until = 0

    def reset(self) -> None:
        """Begin anew: the network came back, or a person asked."""
        self.failures = self._step = 0

    def record_uptime(self, since: int, now: int, *, heard: bool) -> bool:
        """Note how long a live connection has lasted, and tell whether that is long enough."""
        if now - since < STABLE_MS:
            return False
        self._next_ban = BAN_MS
        if heard:
            self.reset()
        return True

    def record_drop(self, since: int, now: int, *, heard: bool) -> None:
        """Note that a live connection was lost."""
        if self.record_uptime(since, now, heard=heard):
            return
        self._short_lives = [at for at in self._short_lives if now - at < SHORT_LIVES_MS] + [now]
        if len(self._short_lives) >= SHORT_LIVES:
            self._short_lives = []
            self._banned_until = now + self._next_ban
            self._next_ban = min(MAX_BAN_MS, 2 * self._next_ban)

    def next(self, now: int, draw: float, *, code: int = 1006, window: int | None = None) -> int:
        """Return when to try again after a failure that ended with `code`."""
        self.failures += 1
        if code == CROWDED:
            self._banned_until = now + CROWDED_MS
        return max(self._banned_until, now + self._wait(draw, code, window))

    def soon(self, now: int, draw: float, within: int) -> int:
        """Return when to try again at once, but not all clients together."""
        return max(self._banned_until, now + round(draw * within))

    def backoff(self, draw: float) -> int:
        """Return the wait of the next step of the back-off."""
        wait = backoff.delay(self._step, draw, base=self._base)
        self._step += 1
        return round(wait * 1_000)

    def _wait(self, draw: float, code: int, window: int | None) -> int:
        if self.failures >= self._max_attempts:
            return round(TIRED_MS * (0.8 + 0.4 * draw))
        if code == CloseCode.RESTARTING or code in SPREAD_CODES:
            return round(draw * (RESTART_MS if window is None else window))
        return self.backoff(draw)
