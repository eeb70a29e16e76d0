"""What it means when Ably refuses or does not answer, and what to do about it."""

import socket
from collections.abc import Callable

import httpx
from ably import AblyException

from realtime_bridge.errors import (
    BackendAuthError,
    BackendUnavailableError,
    PublishError,
    RateLimitedError,
)

CREDENTIALS = (
    "check REALTIME_ABLY_KEY, and that this machine's clock is right to within two minutes"
)

_CURES: list[tuple[range, Callable[[str], PublishError], str]] = [
    (range(40009, 40010), PublishError, "publish less in one event"),
    (range(40110, 40111), BackendAuthError, "enable the account in Ably's dashboard"),
    (range(40111, 40114), RateLimitedError, "wait until the quota is reset, or take a larger plan"),
    (range(40160, 40164), BackendAuthError, "give the key `publish` and `subscribe` at Ably"),
    (range(40100, 40200), BackendAuthError, CREDENTIALS),
    (range(40300, 40400), BackendAuthError, "enable the account or app in Ably's dashboard"),
    (
        range(40400, 40401),
        BackendAuthError,
        "no such app there, check REALTIME_ABLY_KEY and _ENDPOINT",
    ),
    (range(42900, 43000), RateLimitedError, "publish less often, or take a larger plan"),
    (range(50000, 60000), BackendUnavailableError, "see status.ably.com"),
]
"""The error of a code, and its cure; the first that fits."""

_SERVER_ERROR = 500


def refusal(code: int, status: int, said: str) -> PublishError:
    """Return the error that Ably's answer is.

    Args:
        code: Ably's own, five digits; a hundred times the status where it gave none.
        status: the HTTP status.
        said: what Ably said, without secrets.

    """
    answered = f"Ably answered {status}, code {code} ({said})"
    for codes, error, cure in _CURES:
        if code in codes:
            return error(f"{answered}: {cure}")
    if status >= _SERVER_ERROR:
        return BackendUnavailableError(f"{answered}: see status.ably.com")
    return PublishError(f"{answered}: is REALTIME_ABLY_ENDPOINT an Ably?")


def explained(error: Exception, host: str, scrubbed: Callable[[str], str]) -> PublishError:
    """Return the error that the SDK's or its HTTP client's is to our callers.

    Args:
        error: an `AblyException`, or any of httpx: publishing does not wrap those.
        host: whom we called.
        scrubbed: takes secrets out of a text.

    """
    if isinstance(error, AblyException):
        return refusal(error.code or 0, error.status_code or 0, scrubbed(str(error.message)))
    if isinstance(error, httpx.TimeoutException):
        why = "no answer in time: is the network open to it?"
    elif _is_unknown_host(error):
        why = "no such host: is REALTIME_ABLY_ENDPOINT right?"
    else:
        why = f"{type(error).__name__}: is REALTIME_ABLY_ENDPOINT right, and the network open?"
    return BackendUnavailableError(f"Ably at {host} cannot be reached ({why})")


def _is_unknown_host(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, socket.gaierror):
        error = error.__cause__ or error.__context__
    return error is not None
