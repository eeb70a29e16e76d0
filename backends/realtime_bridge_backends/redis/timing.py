"""Time limits of a Redis backend."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisTiming:
    """Time limits, in seconds.

    Args:
        connect: to open a connection.
        call: for one answer. It is below the broadcaster's limit of 5 s, so that the broadcaster
            reports Redis's error and not a timeout of its own.
        subscribe: for the confirmation of subscriptions.
        ping: between two PINGs on a subscription connection. A half-open connection stays silent
            without them (redis-py#2417, kombu#2590).
        pong: for the answer to a PING.

    """

    connect: float = 2.0
    call: float = 4.0
    subscribe: float = 5.0
    ping: float = 10.0
    pong: float = 5.0
