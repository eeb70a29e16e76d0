"""Time limits of a Redis backend."""

from msgspec import Struct


class RedisTiming(Struct, frozen=True, kw_only=True):
    """Time limits, in seconds.

    Args:
        connect_seconds: to open a connection.
        call_seconds: for one call, with its wait for a free connection, the time to connect and
            redis-py's retries. It is below the broadcaster's limit of 5 s, so that the
            broadcaster reports Redis's error and not a timeout of its own.
        check_seconds: for all checks of `realtime-bridge doctor`.
        subscribe_seconds: to open a subscription connection, and for the confirmation of
            subscriptions.
        confirmation_seconds: from a subscription, or from the confirmation before, until Redis
            has to confirm; then the connection counts as lost.
        ping_seconds: between two PINGs on a subscription connection. A half-open connection stays
            silent without them (redis-py#2417, kombu#2590).
        pong_seconds: for the answer to a PING.

    """

    connect_seconds: float = 2.0
    call_seconds: float = 4.0
    check_seconds: float = 8.0
    subscribe_seconds: float = 5.0
    confirmation_seconds: float = 10.0
    ping_seconds: float = 10.0
    pong_seconds: float = 5.0
