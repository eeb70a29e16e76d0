"""Durations of outlets."""

from math import inf

from msgspec import Struct


class OutletTiming(Struct, frozen=True, kw_only=True):
    """Durations of outlets, in seconds.

    Args:
        scan_seconds: interval at which the log's channels are compared with what is delivered.
        request_seconds: the longest time of a request.
        retry_seconds: the longest wait before the first retry; it doubles with each failure.
        longest_retry_seconds: the longest wait before any retry.
        store_seconds: age at which the position of a channel without deliveries is stored.
        lease_seconds: silence of a server after which another one delivers.
        renew_seconds: interval at which the server that delivers renews its lease.
        watch_seconds: interval at which a server announces the channels that its clients watch.
        poll_seconds: time for which a poll counts as watching.
        settle_seconds: age at which an event is delivered if no client watches its channel. It is
            longer than the lease of a server's announcement, so that the clients of a killed
            server do not count any more.
        quiet_seconds: time without a failure after which an outage counts as over.
        give_up_seconds: age at which an event that fails is given up; infinite: never.

    """

    scan_seconds: float = 0.5
    request_seconds: float = 10.0
    retry_seconds: float = 1.0
    longest_retry_seconds: float = 60.0
    store_seconds: float = 30.0
    lease_seconds: int = 10
    renew_seconds: float = 3.0
    watch_seconds: float = 1.0
    poll_seconds: float = 30.0
    settle_seconds: float = 8.0
    quiet_seconds: float = 5.0
    give_up_seconds: float = inf
