"""Time limits of requests to Pusher."""

from msgspec import Struct


class PusherTiming(Struct, frozen=True, kw_only=True):
    """Time limits of requests, in seconds.

    Args:
        connect_seconds: to open a connection.
        call_seconds: for the whole request.

    """

    connect_seconds: float = 2.0
    call_seconds: float = 5.0
