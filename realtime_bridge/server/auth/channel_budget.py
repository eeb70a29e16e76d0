"""Limit on the channels that one user requests, over all connections and polls of a process."""

from collections import OrderedDict

from realtime_bridge.server.http.request import HTTPError

REFILL_SECONDS = 10.0
"""Seconds in which a whole budget is there again."""


class ChannelBudget:
    """Channels that each user may still request now.

    A log keeps the position of each requested channel for minutes, so that a user with a
    permissive rule could fill its memory with invented names.

    Args:
        size: the channels that a user may request at once.

    """

    def __init__(self, size: int) -> None:
        self._size = float(size)
        self._users: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Time of the last request of each user, and the channels that were left then."""

    def __len__(self) -> int:
        return len(self._users)

    def spend(self, user: str, channels: int, now: float) -> bool:
        """Take channels from a user's budget; return False, and take none, if it has too few.

        Args:
            user: the user.
            channels: the number of channels.
            now: the moment of this call, in seconds of a monotonic clock.

        """
        self._forget(now)
        last, left = self._users.pop(user, (now, self._size))
        left = min(self._size, left + (now - last) * self._size / REFILL_SECONDS)
        is_enough = left >= channels
        self._users[user] = (now, left - channels if is_enough else left)
        return is_enough

    def check(self, user: str, channels: int, now: float) -> None:
        """Take channels from a user's budget, for a request; see `spend`.

        Raises:
            HTTPError: 429, the budget has too few.

        """
        if not self.spend(user, channels, now):
            raise HTTPError(
                429,
                "too_many_channels",
                f"{user} requested too many channels in a short time: poll less often",
                headers={"retry-after": "1"},
            )

    def _forget(self, now: float) -> None:
        """Remove the users whose budget is whole again."""
        while self._users:
            user, (last, _) = next(iter(self._users.items()))
            if now - last < REFILL_SECONDS:
                return
            del self._users[user]
