"""Names of events, and the labels that events carry: `id`, `key` and `source`."""

from functools import lru_cache

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.text import is_printable

MAX_EVENT_NAME = 200
"""Longest name of an event, in characters: that of Pusher, whose libraries publish here too."""

MAX_LABEL = 128
"""Longest `id`, `key` or `source`, in characters."""


def check_event_name(name: str) -> str:
    """Return a name that an event can have.

    Raises:
        InvalidEventError: it is empty, too long, or has a character that is not printable.

    """
    # The size comes first: the cache would keep refused names of megabytes.
    if not isinstance(name, str) or len(name) > MAX_EVENT_NAME or not _is_name(name):
        raise InvalidEventError(
            f"Bad event name {str(name)[:80]!r}: use 1 to {MAX_EVENT_NAME} printable characters, "
            "like job.progress"
        )
    return name


@lru_cache(maxsize=1024)
def _is_name(name: str) -> bool:
    return bool(name) and is_printable(name)


def is_label(value: object) -> bool:
    """Return whether a value can be an `id`, a `key` or a `source`."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_LABEL:
        return False
    # `isprintable` is ten times as fast, and rejects a few characters too many.
    return value.isprintable() or is_printable(value)


def check_label(field_name: str, value: str) -> str:
    """Return a value that an `id`, a `key` or a `source` can have.

    Args:
        field_name: which of them it is, for the error.
        value: the value.

    Raises:
        InvalidEventError: `is_label` is false.

    """
    if not is_label(value):
        raise InvalidEventError(
            f"Bad {field_name} {str(value)[:140]!r}: "
            f"use a text of 1 to {MAX_LABEL} printable characters"
        )
    return value
