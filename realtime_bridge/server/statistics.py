"""Counts of one run of a server, which its metrics report."""

import logging
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from realtime_bridge.model.event import Event

_logger = logging.getLogger("realtime_bridge.server")

DELAY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the delays' buckets, in s: Prometheus's usual ones."""

MISCONFIGURED = frozenset({"token_unknown_key", "bad_signature", "old_timestamp"})
"""Codes of refusals whose usual cause is a configuration: an operator has to see them."""

LOG_SECONDS = 60.0
"""Time between two log lines about refusals with the same code."""


class Histogram:
    """Distribution of values over buckets.

    Args:
        bounds: upper bound of each bucket; a last bucket has no bound.

    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.sum: float = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class OutletCounts(Struct):
    """Counts of one outlet in this run.

    Args:
        delivered: events that its target accepted.
        failures: failed requests, or reads of the log.
        missed: events that the log had removed before their delivery.
        waiting: channels with events to deliver.

    """

    delivered: int = 0
    failures: int = 0
    missed: int = 0
    waiting: int = 0


class ServerStatistics:
    """Counts that the parts of a server add to."""

    def __init__(self) -> None:
        self.started: float = time.time()
        self.delays: Histogram = Histogram(DELAY_BOUNDS)
        """Seconds from the append of each event to its announcement here."""
        self.announced: int = 0
        """Number of events that the log announced, and that were new here."""
        self.deliveries: int = 0
        """Number of events written to connected subscribers, once for each of them."""
        self.polls: int = 0
        self.slow_clients: int = 0
        """Number of times that a client fell behind, and was moved from push to reading."""
        self.pusher_gaps: int = 0
        """Number of gaps that clients of Pusher's protocol were not informed of."""
        self.closed: Counter[int] = Counter()
        """Number of connections that the server closed, by close code."""
        self.refusals: Counter[str] = Counter()
        """Number of refused requests, connections and subscriptions, by code."""
        self.outlets: Sequence[OutletCounts] = ()
        """Counts of each outlet, in the order of the outlets."""
        self._logged: dict[str, float] = {}

    def count_events(self, events: Sequence[Event], now: float, *, subscribers: int) -> None:
        """Count new events, announced at a Unix time, and written to so many subscribers each."""
        self.announced += len(events)
        self.deliveries += len(events) * subscribers
        for event in events:
            # Clocks of two hosts differ by a little: an event is not announced before its append.
            self.delays.observe(max(0.0, now - event.time / 1_000) if event.time else 0.0)

    def count_fan_out(
        self, announced: int, deliveries: int, delays: Sequence[tuple[int, int]], seconds: float
    ) -> None:
        """Count new events whose delays are counted already, by the number of their bucket."""
        self.announced += announced
        self.deliveries += deliveries
        for bucket, count in delays:  # most turns fill one bucket of twelve
            self.delays.counts[bucket] += count
        self.delays.sum += seconds

    def refuse(self, code: str, reason: str) -> None:
        """Count a refusal, and log it where the configuration is the likely cause."""
        self.refusals[code] += 1
        now = time.monotonic()
        if code in MISCONFIGURED and now - self._logged.get(code, float("-inf")) >= LOG_SECONDS:
            self._logged[code] = now
            count = self.refusals[code]
            _logger.warning("client refused: code=%s reason=%r refusals=%d", code, reason, count)
