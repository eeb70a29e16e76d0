"""Durations of an Ably backend."""

from msgspec import Struct


class AblyTiming(Struct, frozen=True, kw_only=True):
    """Durations of an Ably backend, in seconds.

    Args:
        connect_seconds: longest time to open a connection.
        call_seconds: longest time for one answer.
        token_seconds: lifetime of this backend's own tokens; a new one is signed when Ably reports
            that the old one has expired.

    """

    connect_seconds: float = 2.0
    call_seconds: float = 5.0
    token_seconds: float = 3_600.0
