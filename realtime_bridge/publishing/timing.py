"""Durations of a publish and of failover; tests pass shorter ones."""

from collections.abc import Callable

from msgspec import Struct

from realtime_bridge.jobs import outage


class PublishTiming(Struct, frozen=True, kw_only=True):
    """Limits of one publish.

    Args:
        call_seconds: longest duration of an append with its retries, and of a push.
        retries: appends after the first one, while the failure is retryable.
        retry_delay: seconds to wait after a number of failures in a row.
        report_seconds: longest wait of a caller for work in the background, such as a job's
            report; in an outage there is none.
        close_seconds: longest wait of a close for work in the background.
        renew_seconds: interval of the renewals of leases, varied by 10 %; a lease has six times
            as long. Workers learn of a cancel by it.
        urgent_renew_seconds: the same for a job that waits for an answer.
        quiet_seconds: time without a failed push after which an outage counts as over in the log
            of the process.

    """

    call_seconds: float = 5.0
    retries: int = 4
    retry_delay: Callable[[int], float] = outage.retry_delay
    report_seconds: float = 1.0
    close_seconds: float = 5.0
    renew_seconds: float = 5.0
    urgent_renew_seconds: float = 1.0
    quiet_seconds: float = 5.0


class FailoverTiming(Struct, frozen=True, kw_only=True):
    """Durations of failover, in seconds.

    Args:
        sync_seconds: age at which the log's record of the active target is read again.
        push_seconds: longest push through one target; it leaves a part of the publish's 5 s to
            the next target.
        probe_seconds: longest delay of a publish by a probe of the first target.
        both_seconds: time after a planned switch in which the former target also gets the events;
            clients of a provider notice the switch by their next position check.

    """

    sync_seconds: float = 5.0
    push_seconds: float = 3.0
    probe_seconds: float = 1.0
    both_seconds: float = 40.0
