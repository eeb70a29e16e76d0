"""Errors of this library; each message names what failed, and one thing to do."""

from collections.abc import Sequence


class RealtimeError(Exception):
    """Base of every error that this library raises on purpose."""


class ConfigurationError(RealtimeError):
    """Configuration that cannot work; raised before anything connects."""


class BackendNotFoundError(ConfigurationError):
    """Name of a backend that is not installed.

    Args:
        name: the configured name.
        known: names of the installed backends.

    """

    def __init__(self, name: str, *, known: Sequence[str]) -> None:
        from difflib import get_close_matches

        nearest = get_close_matches(name, known, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        super().__init__(f"Unknown backend {name!r}.{hint} Installed backends: {', '.join(known)}.")
        self.name = name
        self.known: tuple[str, ...] = tuple(known)


class ExtraNotInstalledError(ConfigurationError, ImportError):
    """Part of this library whose packages are not installed.

    Args:
        part: the part, as a phrase.
        missing: module that could not be imported.
        extra: extra of this distribution that installs it.

    """

    def __init__(self, part: str, *, missing: str, extra: str) -> None:
        super().__init__(
            f"{part} needs the package {missing!r}, which is not installed. "
            f"Run: pip install 'realtime-bridge[{extra}]'"
        )
        self.missing = missing


class BackendNotInstalledError(ExtraNotInstalledError):
    """Backend whose packages are not installed.

    Args:
        name: name of the backend.
        missing: module that could not be imported.
        extra: extra of this distribution that installs it.

    """

    def __init__(self, name: str, *, missing: str, extra: str) -> None:
        super().__init__(f"Backend {name!r}", missing=missing, extra=extra)
        self.name: str = name


class InvalidEventError(RealtimeError, ValueError):
    """Event that cannot be published: bad channel, bad name, data not JSON, or too large."""


class InvalidIdentityError(RealtimeError, ValueError):
    """Id of a user that is no text, whole number or UUID, or that no token or channel can hold."""


class PublishError(RealtimeError):
    """Event that was not published.

    Args:
        message: the failure.
        retryable: the same call may succeed later; publishing the same `id` again is safe.

    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class BackendUnavailableError(PublishError):
    """Backend that could not be reached, or did not answer in time."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message, retryable=retryable)


class BackendAuthError(PublishError):
    """Backend that refused our credentials."""


class RateLimitedError(PublishError):
    """Backend that accepts no more events for now.

    Args:
        message: the failure.
        retry_after: seconds until the backend accepts events; None where it did not answer that.

    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, retryable=True)
        self.retry_after = retry_after


class KeyOwnedError(PublishError):
    """Plain event for a key that has an owner; its owner alone changes the key."""


class StreamError(RealtimeError):
    """Stream that takes no more items."""


class StreamStoppedError(StreamError):
    """Stream that was stopped, or has ended."""


class StreamSupersededError(StreamError):
    """Stream that another attempt took over."""


class StreamFullError(StreamError):
    """Stream that has as many bytes as a log keeps."""


class JobCancelledError(RealtimeError):
    """Job that people cancelled; let it leave the job's block."""


class JobSupersededError(RealtimeError):
    """Job that another run took over, or ended: this one reports nothing more."""


class AnswerTimeoutError(RealtimeError, TimeoutError):
    """Question of a job that no one answered in time."""


class AuthRequestError(RealtimeError):
    """Authorization request that the provider's own client never sends."""
