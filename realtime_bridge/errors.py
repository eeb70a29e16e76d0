"""What can go wrong, each error saying what was wrong and what to do."""

from collections.abc import Sequence
from difflib import get_close_matches


class RealtimeError(Exception):
    """The root of every error this library raises on purpose."""


class ConfigurationError(RealtimeError):
    """The configuration cannot work; nothing was connected yet."""


class BackendNotFoundError(ConfigurationError):
    """No installed plug-in has this name."""

    def __init__(self, name: str, *, known: Sequence[str]) -> None:
        nearest = get_close_matches(name, known, n=1)
        meant = f" Did you mean {nearest[0]!r}?" if nearest else ""
        super().__init__(
            f"Unknown backend {name!r}.{meant} Installed backends: {', '.join(known)}."
        )
        self.name = name
        self.known = tuple(known)


class BackendNotInstalledError(ConfigurationError):
    """The plug-in is known, but a library it stands on is missing."""

    def __init__(self, name: str, *, missing: str, extra: str) -> None:
        super().__init__(
            f"Backend {name!r} needs the package {missing!r}, which is not installed. "
            f"Run: pip install 'realtime-bridge[{extra}]'"
        )
        self.name = name
        self.missing = missing


class InvalidEventError(RealtimeError, ValueError):
    """The event cannot be published: bad channel, bad name, not JSON, or too large."""


class PublishError(RealtimeError):
    """The event was not published.

    `retryable` says whether the same call may work later; publishing the same `id` again is safe.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class BackendUnavailableError(PublishError):
    """The backend could not be reached or did not answer in time."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message, retryable=retryable)


class BackendAuthError(PublishError):
    """The backend refused our credentials."""


class RateLimitedError(PublishError):
    """The backend asked us to slow down; `retry_after` is in seconds, if it said."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, retryable=True)
        self.retry_after = retry_after


class AuthRequestError(RealtimeError):
    """A provider's client asked for permission in words that this provider's client never uses."""
