"""Record of denied credentials: when to renew them, when to retry, and when to give up."""

from collections.abc import Mapping
from typing import Literal

UNAUTHORIZED = 401
DENIAL = (UNAUTHORIZED, 403)
"""HTTP statuses of invalid credentials, where the bridge itself sent them."""

TOKEN_REFUSALS: Mapping[str | None, str] = {
    "token_expired": "it has expired",
    "token_not_yet_valid": "it is not valid yet, because two clocks differ",
    "token_unknown_key": "it is signed with another secret",
}
"""Codes of refusals after which a fresh token may be accepted, with the causes for users."""


def refusal_reason(code: str | None, otherwise: str) -> str:
    """Return the reason of a refusal in words for users; `otherwise` where a token cannot help."""
    cause = TOKEN_REFUSALS.get(code)
    return f"the server refuses the token: {cause}" if cause else otherwise


def failure_reason(message: str | None, status: int | None, code: str | None) -> str:
    """Return the reason of a failed request: its cause, then the status and the bridge's code."""
    numbers = " ".join(str(part) for part in (status, code) if part)
    if not message:
        return numbers or "no answer"
    return f"{message} ({numbers})" if numbers else message


class Credentials:
    """Record of one client's denials.

    Args:
        patience: Time during which a 401 is retried, in milliseconds: an application that renews
            its session answers 401 for a moment. With 0, nothing is retried.

    """

    def __init__(self, patience: int) -> None:
        self.renewed: bool = False
        """True after a renewal, until a success confirms it."""
        self._patience = patience
        self._denied_since: int | None = None

    def confirm(self) -> None:
        """Record a success, or a failure unrelated to the credentials."""
        self.renewed, self._denied_since = False, None

    def deny(
        self, now: int, status: int | None, code: str | None
    ) -> Literal["renew", "retry", "final"]:
        """Record a denial, and return what follows.

        A second 403 is final, and a 401 after a while. A token refused for its time or its key
        never is: servers agree on secrets and clocks again, and a fresh token then serves.
        """
        is_token = code in TOKEN_REFUSALS and self._patience > 0
        if self._denied_since is None and not is_token:
            self._denied_since = now
        if not self.renewed:
            self.renewed = True
            return "renew"
        elapsed = now - (now if self._denied_since is None else self._denied_since)
        is_patient = status == UNAUTHORIZED and elapsed < self._patience
        return "retry" if is_token or is_patient else "final"
