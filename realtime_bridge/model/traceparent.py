"""Trace context of an event, as W3C Trace Context writes it in `traceparent`."""

import re

_is_traceparent = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


def valid_traceparent(value: object) -> str | None:
    """Return the text if it has the form of a `traceparent`; else None.

    A trace serves the people who run a system: a bad one must not stop an event.
    """
    return value if isinstance(value, str) and _is_traceparent(value) else None
