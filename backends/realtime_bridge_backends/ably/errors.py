"""Conversion of Ably's errors into ours, each with one thing to do."""

import socket
from collections.abc import Callable
from typing import Any

import httpx
from ably import AblyException

from realtime_bridge.errors import (
    BackendAuthError,
    BackendUnavailableError,
    PublishError,
    RateLimitedError,
)

_CREDENTIALS = "check REALTIME_ABLY_KEY, and this machine's clock: Ably allows 2 minutes"


class EventTooLargeError(RateLimitedError):
    """Refusal of an event whose size is within Ably's usual limit."""


_RULES: list[tuple[range, Callable[[str], PublishError], str]] = [
    (
        range(40009, 40010),
        EventTooLargeError,
        "the event is within Ably's usual limit of 65,536 bytes. Raise the limit of the account",
    ),
    (range(40110, 40111), BackendAuthError, "enable the account in Ably's dashboard"),
    (range(40111, 40114), RateLimitedError, "wait until the quota is reset, or use a larger plan"),
    (range(40160, 40164), BackendAuthError, "give the key `publish` and `subscribe` at Ably"),
    (range(40100, 40200), BackendAuthError, _CREDENTIALS),
    (range(40300, 40400), BackendAuthError, "enable the account or app in Ably's dashboard"),
    (
        range(40400, 40401),
        BackendAuthError,
        "no such app: check REALTIME_ABLY_KEY and REALTIME_ABLY_ENDPOINT",
    ),
    (
        range(42900, 43000),
        RateLimitedError,
        "publish less often (one channel takes 50 messages a second), or use a larger plan",
    ),
    (range(50000, 60000), BackendUnavailableError, "see status.ably.com"),
]
"""Ably's documented codes, the class to raise, and the hint. The first match counts: 40100 to
40199 has special cases above it."""

_SERVER_ERROR = 500


def error_from_response(code: int, status: int, message: str) -> PublishError:
    """Return the error to raise for an error response.

    Args:
        code: Ably's code of five digits, or 0 if the response has none.
        status: the HTTP status.
        message: Ably's message, without secrets.

    """
    response = f"Ably answered {status}, code {code} ({message})"
    for codes, error_class, hint in _RULES:
        if code in codes:
            return error_class(f"{response}: {_name_variables(hint)}")
    if status >= _SERVER_ERROR:
        return BackendUnavailableError(f"{response}: see status.ably.com")
    return PublishError(f"{response}: check that REALTIME_ABLY_ENDPOINT is an Ably server")


def _name_variables(text: str) -> str:
    from realtime_bridge_backends.ably.settings import AblySettings

    return AblySettings.name_variables(text)


def raise_for_refusal(response: Any, redact: Callable[[str], str]) -> None:
    """Raise the first error of a response to a publish.

    The SDK's `request` raises none. A batch that failed in part has the status of a success, and
    so may have the refusal of a server other than Ably's.
    """
    for item in response.items:
        for result in (item, *item.get("results", ())):
            if error := result.get("error"):
                message = redact(str(error.get("message")))
                code, status = error.get("code") or 0, error.get("statusCode") or 0
                raise error_from_response(int(code), int(status), message)
    if not response.success:
        message = redact(str(response.error_message))
        raise error_from_response(int(response.error_code or 0), response.status_code, message)


def to_publish_error(error: Exception, host: str, redact: Callable[[str], str]) -> PublishError:
    """Return the error to raise for one of the SDK or of its HTTP client.

    Args:
        error: an `AblyException`, an exception of httpx, which the SDK does not wrap, or one that
            an answer in another form caused.
        host: the host of the call.
        redact: removes secrets from a text.

    """
    if isinstance(error, AblyException):
        return error_from_response(
            error.code or 0, error.status_code or 0, redact(str(error.message))
        )
    if isinstance(error, ValueError | LookupError | TypeError):
        return BackendUnavailableError(
            f"{host} gave an answer that is not Ably's ({type(error).__name__}): check that "
            "REALTIME_ABLY_ENDPOINT is an Ably server, and that no proxy answers in its place"
        )
    if isinstance(error, httpx.TimeoutException):
        reason = "no answer in time: check the network"
    elif _is_unknown_host(error):
        reason = "no such host: check REALTIME_ABLY_ENDPOINT"
    else:
        reason = f"{type(error).__name__}: check REALTIME_ABLY_ENDPOINT and the network"
    return BackendUnavailableError(f"Ably at {host} cannot be reached ({reason})")


def _is_unknown_host(error: BaseException | None) -> bool:
    # httpx and httpcore wrap the resolver's error several times.
    while error is not None and not isinstance(error, socket.gaierror):
        error = error.__cause__ or error.__context__
    return error is not None
