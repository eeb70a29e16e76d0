"""Record of denied credentials: when to renew them, when to retry, and when to give up."""

from typing import Literal

UNAUTHORIZED = 401
DENIAL = (UNAUTHORIZED, 403)
"""HTTP statuses of invalid credentials, where the bridge itself sent them."""


class Credentials:
    """Record of one client's denials.

    Args:
        patience: Time during which a 401 is retried, in milliseconds: an application that renews
            its session answers 401 for a moment.

    """

    def __init__(self, patience: int) -> None:
        self.renewed: bool = False
        """True after a renewal, until a success confirms it."""
        self._patience = patience
        self._denied_since: int | None = None

    def confirm(self) -> None:
        """Record a success, or a failure unrelated to the credentials."""
        self.renewed, self._denied_since = False, None

    def deny(self, now: int, status: int | None) -> Literal["renew", "retry", "final"]:
        """Record a denial, and return what follows: a second 403 is final, a 401 after a while."""
        if self._denied_since is None:
            self._denied_since = now
        if not self.renewed:
            self.renewed = True
            return "renew"
        has_patience = status == UNAUTHORIZED and now - self._denied_since < self._patience
        return "retry" if has_patience else "final"
