"""Metrics of one process's writes to the file."""

from collections.abc import Sequence

from realtime_bridge.backend.log import LogMetric
from realtime_bridge_backends.sqlite.writer import WriterThread


def log_metrics(writer: WriterThread) -> Sequence[LogMetric]:
    """Return the counts of a writer, and the size of the write-ahead log."""
    counts = writer.statistics
    return (
        LogMetric(
            name="sqlite_wal_bytes",
            kind="gauge",
            description="Size of the write-ahead log of the file.",
            samples={"": writer.wal_bytes},
        ),
        LogMetric(
            name="sqlite_busy_seconds",
            kind="counter",
            description="Seconds in which this worker waited for the write lock of the file.",
            samples={"_total": counts.busy_seconds},
        ),
        LogMetric(
            name="sqlite_commits",
            kind="counter",
            description="Transactions of this worker that wrote to the file.",
            samples={"_total": counts.commits},
        ),
        LogMetric(
            name="sqlite_group_size",
            kind="summary",
            description="Events in one transaction of this worker.",
            samples={"_sum": counts.events, "_count": counts.commits},
        ),
    )
