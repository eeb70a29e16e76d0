"""Reading of Pusher's answers, and conversion of its refusals into our errors."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from realtime_bridge.errors import (
    BackendAuthError,
    BackendUnavailableError,
    PublishError,
    RateLimitedError,
)

MAX_SKEW_SECONDS = 600
"""The largest difference that Pusher allows between a request's timestamp and its clock."""


class EventTooLargeError(RateLimitedError):
    """Refusal of an event whose size is within Pusher's own limit."""


def read_answer(status: int, text: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of an answer.

    Args:
        status: the HTTP status.
        text: the body, without secrets.
        headers: the headers, with names in lower case or any case.

    Raises:
        PublishError: the answer is a refusal, or not Pusher's.

    """
    if status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
        raise to_publish_error(status, _shorten(text), headers)
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise BackendUnavailableError(
            f"Pusher answered {status}, but not with a JSON object ({_shorten(text)}): check that "
            "REALTIME_PUSHER_HOST is a Pusher server, and that no proxy answers in its place"
        )
    if "error" not in fields:
        return fields
    # soketi answers every refusal with status 200; the real status is a field of the body.
    code = fields.get("code")
    is_status = code in range(HTTPStatus.BAD_REQUEST, _END_OF_STATUSES)
    refused = int(str(code)) if is_status else HTTPStatus.BAD_REQUEST
    raise to_publish_error(refused, _shorten(str(fields["error"])), headers)


def to_publish_error(status: int, message: str, headers: Mapping[str, str]) -> PublishError:
    """Return the error to raise for a refusal, with one thing to do."""
    response = f"Pusher answered {status} ({message})"
    if status == HTTPStatus.FORBIDDEN and "quota" in message:
        return RateLimitedError(f"{response}: wait until the quota is reset, or use a larger plan")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after = _retry_after(headers)
        return RateLimitedError(f"{response}: publish less often", retry_after=retry_after)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BackendUnavailableError(f"{response}: see status.pusher.com")
    if status == HTTPStatus.BAD_REQUEST and "cluster" in message:
        status = HTTPStatus.NOT_FOUND  # an app of another cluster is a 400
    if status in _CREDENTIAL_HINTS:
        hint = name_variables(_CREDENTIAL_HINTS[HTTPStatus(status)])
        return BackendAuthError(f"{response}: {hint}")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # No event over Pusher's limit is sent, so the server's own limit is lower.
        return EventTooLargeError(
            f"{response}: the event is within Pusher's limit of 10,240 bytes. Raise the limit of "
            "the server or the quota of the plan"
        )
    return PublishError(f"{response}: check that REALTIME_PUSHER_HOST is a Pusher server")


def _shorten(text: str) -> str:
    return " ".join(text.split())[:ERROR_TEXT]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.isdigit() else None


ERROR_TEXT = 200
"""Longest text of Pusher's in an error, in characters."""

_END_OF_STATUSES = 600

_CREDENTIAL_HINTS = {
    HTTPStatus.UNAUTHORIZED: "check REALTIME_PUSHER_KEY and REALTIME_PUSHER_SECRET, and this "
    f"machine's clock: Pusher allows {MAX_SKEW_SECONDS} s",
    HTTPStatus.FORBIDDEN: "enable the app in Pusher's dashboard",
    HTTPStatus.NOT_FOUND: "no such app: check REALTIME_PUSHER_APP_ID and REALTIME_PUSHER_CLUSTER",
}


def name_variables(text: str) -> str:
    """Return a hint with the names of the variables that are set."""
    from realtime_bridge_backends.pusher.settings import PusherSettings

    return PusherSettings.name_variables(text)
