"""Counts of a mirror: what its provider accepted of the published events, and how late."""

from bisect import bisect_left
from collections.abc import Iterable

from msgspec import Struct, field

BOUNDS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
"""Upper bounds of the delays' buckets, in milliseconds; a last bucket has none."""

MAX_MISSING = 20
"""Missing events of one publisher that a report names."""


class Missing(Struct, frozen=True):
    """Event that the log has, and the mirror's provider has not.

    Args:
        channel: channel of the event.
        event: name of the event.
        id: id of the event.
        reason: reason, as a sentence.

    """

    channel: str
    event: str
    id: str
    reason: str


class MirrorCounts(Struct):
    """Counts of one publisher since its start, or of several together.

    Args:
        backend: name of the mirror's backend.
        started: Unix time of the start, in seconds; of several the first.
        published: events that the log has, duplicates counted once.
        mirrored: events that the provider accepted.
        failed: events that it did not accept.
        dropped: events that found the queue full, or waited in it at the end.
        delays: number of mirrored events by delay, one more than `BOUNDS`.
        missing: the last events that are missing there.

    """

    backend: str
    started: float
    published: int = 0
    mirrored: int = 0
    failed: int = 0
    dropped: int = 0
    delays: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    missing: list[Missing] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """Number of events that were published, and whose copy is on its way."""
        return self.published - self.mirrored - self.failed - self.dropped

    def accept(self, delays: Iterable[float]) -> None:
        """Count mirrored events by their delays, in seconds."""
        for delay in delays:
            self.mirrored += 1
            self.delays[bisect_left(BOUNDS, delay * 1_000)] += 1

    def miss(self, missing: Missing, *, dropped: bool = False) -> None:
        """Count an event that the provider has not."""
        if dropped:
            self.dropped += 1
        else:
            self.failed += 1
        self.missing.append(missing)
        del self.missing[:-MAX_MISSING]

    def delay(self, share: float) -> int | None:
        """Return the bound, in milliseconds, within which a share of the events was mirrored.

        It is None if there are none, or if the share needed more than the last bound.
        """
        needed, count = share * self.mirrored, 0
        for bound, number in zip(BOUNDS, self.delays, strict=False):
            count += number
            if self.mirrored and count >= needed:
                return bound
        return None


def total(reports: Iterable[MirrorCounts]) -> dict[str, MirrorCounts]:
    """Return the sums of the counts of several publishers, by the mirror's backend."""
    totals: dict[str, MirrorCounts] = {}
    for report in reports:
        sums = totals.setdefault(report.backend, MirrorCounts(report.backend, report.started))
        sums.started = min(sums.started, report.started)
        for name in ("published", "mirrored", "failed", "dropped"):
            setattr(sums, name, getattr(sums, name) + getattr(report, name))
        sums.delays = [one + other for one, other in zip(sums.delays, report.delays, strict=True)]
        sums.missing += report.missing
    return totals
