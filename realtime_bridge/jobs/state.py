"""One job's life as absolute states: what to tell of it, and when it is due."""

from collections import deque
from dataclasses import dataclass
from typing import Any

PROGRESS_INTERVAL = 0.25
"""Seconds between two tellings of one job's progress: 4 a second are as many as an eye follows."""

PENDING_LIMIT = 16
"""How many changes of state wait while nothing can be told; beyond it the oldest is forgotten."""

ENDS = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUpdate:
    """One absolute state, and the name of the event that tells it."""

    event: str
    data: dict[str, Any]


class JobState:
    """Collects what happens to a job; `due` and `take` say what to tell of it.

    Changes of state are told one by one; of progress only the newest is, every
    `PROGRESS_INTERVAL` seconds. The first end stays: nothing changes it. Versions are Unix
    milliseconds, and always greater than the last, so that an attempt in another process goes on
    where this one ended.
    """

    def __init__(self, job: str, *, title: str) -> None:
        self.state = "queued"
        self._fraction: float | None = None
        self._stage: str | None = None
        self._message: str | None = None
        self._seconds_left: float | None = None
        self._job = job
        self._title = title
        self._error: str | None = None
        self._retry_at: int | None = None
        self._version = 0
        self._moved = False
        self._told_at = float("-inf")
        self._pending: deque[JobUpdate] = deque(maxlen=PENDING_LIMIT)

    def change(
        self, name: str, now_ms: int, *, error: str | None = None, retry_at: int | None = None
    ) -> None:
        """Enter the state that the event `job.{name}` tells, unless the job has ended."""
        if self.state in ENDS:
            return
        if self._moved:
            self._tell("progress", now_ms)
        self.state = "running" if name == "started" else name
        self._error = error
        self._retry_at = retry_at
        self._seconds_left = None
        if name == "completed":
            self._fraction = 1.0
        self._tell(name, now_ms)

    def set_progress(
        self,
        fraction: float | None = None,
        message: str | None = None,
        stage: str | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Note how far the job is; what is left out stays as it was."""
        if self.state in ENDS:
            return
        self._moved = True
        if fraction is not None:
            self._fraction = fraction
        if message is not None:
            self._message = message
        if stage is not None:
            self._stage = stage
        if seconds_left is not None:
            self._seconds_left = seconds_left

    def due(self, now: float) -> float | None:
        """Return in how many seconds there is something to tell; None while there is nothing."""
        if self._pending:
            return 0.0
        return max(0.0, self._told_at + PROGRESS_INTERVAL - now) if self._moved else None

    def take(self, now: float, now_ms: int) -> JobUpdate | None:
        """Return what is to be told now; it stays the next one until it is `told`."""
        if not self._pending and self._moved and self._told_at + PROGRESS_INTERVAL <= now:
            self._told_at = now
            self._tell("progress", now_ms)
        return self._pending[0] if self._pending else None

    def delivered(self, update: JobUpdate) -> None:
        """Forget what was told, or can never be."""
        if self._pending and self._pending[0] is update:
            self._pending.popleft()

    def forget(self) -> None:
        """Leave to another process what is not told yet."""
        self._moved = False
        self._pending.clear()

    def _tell(self, name: str, now_ms: int) -> None:
        self._moved = False
        self._version = max(self._version + 1, now_ms)
        self._pending.append(JobUpdate(event=f"job.{name}", data=self._absolute()))

    def _absolute(self) -> dict[str, Any]:
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
