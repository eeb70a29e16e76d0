"""Limit on the channels that one user requests, over all connections and polls of a process."""

from collections import OrderedDict

from realtime_bridge.server.http.request import HTTPError

REFILL_SECONDS = 10.0
"""Seconds in which a whole budget is there again."""

ROUNDING = 1e-6
"""Channels by which the sum of many requests may be over a budget: times are rounded."""


class ChannelBudget:
    """Channels that each user may still request now.

    A log keeps the position of each requested channel for minutes, so that a user with a
    permissive rule could fill its memory with invented names.

    Args:
        size: the channels that a user may request at once.

    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._whole_at: OrderedDict[str, float] = OrderedDict()
        """Time at which the budget of each user is whole again; the latest request is the last.

        A server has an entry for each connected user: one number takes half the memory of two.
        """

    def __len__(self) -> int:
        return len(self._whole_at)

    def spend(self, user: str, channels: int, now: float) -> bool:
        """Take channels from a user's budget; return False, and take none, if it has too few.

        Args:
            user: the user.
            channels: the number of channels.
            now: the moment of this call, in seconds of a monotonic clock.

        """
        self._forget(now)
        whole_at = max(now, self._whole_at.pop(user, now))
        taken = (whole_at - now) * self._size / REFILL_SECONDS
        is_enough = taken + channels <= self._size + ROUNDING
        if is_enough:
            whole_at += channels * REFILL_SECONDS / self._size
        self._whole_at[user] = whole_at
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
        """Remove the users whose budget is whole again, the longest silent first."""
        while self._whole_at:
            user, whole_at = next(iter(self._whole_at.items()))
            if now < whole_at:
                return
            del self._whole_at[user]
