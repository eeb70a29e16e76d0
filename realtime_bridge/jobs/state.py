"""State of one job as absolute updates, and the times at which they are due."""

from collections import deque
from typing import Any

from msgspec import Struct

from realtime_bridge.jobs.values import SHORT_TEXT_BYTES, to_text

PROGRESS_INTERVAL = 0.25
"""Seconds between two progress updates of one job: people see no difference in more of them."""

PENDING_LIMIT = 16
"""Changes of state that wait while nothing can be published; beyond it the oldest is dropped."""

END_STATES = frozenset({"completed", "failed", "cancelled"})


class JobUpdate(Struct, frozen=True, kw_only=True):
    """Absolute state of a job, and the name of its event."""

    event: str
    data: dict[str, Any]

    def reduced(self) -> "JobUpdate":
        """Return the update with short texts, and without those that its meaning does not need."""
        short = {name: to_text(self.data[name], SHORT_TEXT_BYTES) for name in ("title", "error")}
        return JobUpdate(
            event=self.event, data={**self.data, **short, "stage": None, "message": None}
        )


class JobState:
    """State of a job, and its updates that are not published yet.

    Each change of state is an update of its own; of progress only the newest is, every
    `PROGRESS_INTERVAL` seconds. An end state is final. Versions are Unix milliseconds and always
    grow within one process. They order nothing between processes, whose clocks differ: the order
    of the events does.
    """

    def __init__(self, job: str, *, title: str) -> None:
        self.state: str = "queued"
        self._fraction: float | None = None
        self._stage: str | None = None
        self._message: str | None = None
        self._seconds_left: float | None = None
        self._job = job
        self._title = title
        self._error: str | None = None
        self._retry_at: int | None = None
        self._version = 0
        self._has_progress = False
        self._progress_at = float("-inf")
        self._pending: deque[JobUpdate] = deque(maxlen=PENDING_LIMIT)

    def change(
        self, name: str, now_ms: int, *, error: str | None = None, retry_at: int | None = None
    ) -> None:
        """Enter the state of the event `job.{name}`, unless the job is in an end state."""
        if self.state in END_STATES:
            return
        # The last progress precedes the change: clients show where the job was when it ended.
        if self._has_progress:
            self._append_update("progress", now_ms)
        self.state = "running" if name == "started" else name
        self._error = error
        self._retry_at = retry_at
        self._seconds_left = None
        if name == "completed":
            self._fraction = 1.0
        self._append_update(name, now_ms)

    def set_progress(
        self,
        fraction: float | None = None,
        message: str | None = None,
        stage: str | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Set the progress; an omitted argument keeps its value."""
        if self.state in END_STATES:
            return
        self._has_progress = True
        if fraction is not None:
            self._fraction = fraction
        if message is not None:
            self._message = message
        if stage is not None:
            self._stage = stage
        if seconds_left is not None:
            self._seconds_left = seconds_left

    def seconds_until_due(self, now: float) -> float | None:
        """Return the seconds until the next update is due; None without one."""
        if self._pending:
            return 0.0
        return max(0.0, self._progress_at + PROGRESS_INTERVAL - now) if self._has_progress else None

    def next_update(self, now: float, now_ms: int) -> JobUpdate | None:
        """Return the update that is due; it stays the next one until `remove`."""
        if (
            not self._pending
            and self._has_progress
            and self._progress_at + PROGRESS_INTERVAL <= now
        ):
            self._progress_at = now
            self._append_update("progress", now_ms)
        return self._pending[0] if self._pending else None

    def remove(self, update: JobUpdate) -> None:
        """Remove an update that is published, or can never be."""
        # A full queue may have dropped the update in the meantime.
        if self._pending and self._pending[0] is update:
            self._pending.popleft()

    def reduce(self, update: JobUpdate) -> bool:
        """Replace a refused update by a reduced one; remove it, and return False, if it is that."""
        reduced = update.reduced()
        if reduced == update or not self._pending or self._pending[0] is not update:
            self.remove(update)
            return False
        self._pending[0] = reduced
        return True

    def newest_pending(self) -> JobUpdate | None:
        """Return the newest change of state that is not published."""
        return self._pending[-1] if self._pending else None

    def adopt(self, update: JobUpdate) -> None:
        """Add the update of another process as a pending one."""
        self._pending.append(update)

    def discard_pending(self) -> None:
        """Discard all updates; another process publishes them."""
        self._has_progress = False
        self._pending.clear()

    def _append_update(self, name: str, now_ms: int) -> None:
        self._has_progress = False
        # Clocks may go back, versions may not.
        self._version = max(self._version + 1, now_ms)
        self._pending.append(JobUpdate(event=f"job.{name}", data=self._data()))

    def _data(self) -> dict[str, Any]:
        return {
            "job": self._job,
            "title": self._title,
            "state": self.state,
            "progress": self._fraction,
            "stage": self._stage,
            "message": self._message,
            "error": self._error,
            "retry_at": self._retry_at,
            "eta": self._seconds_left,
            "version": self._version,
        }
