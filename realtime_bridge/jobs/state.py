"""State of one run of a job: absolute updates, and the times at which they are due."""

from collections import deque
from typing import Any, Literal

from msgspec import Struct

from realtime_bridge.jobs.snapshot import JobSnapshot
from realtime_bridge.jobs.update import END_STATES, JobUpdate, job_key
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import Refusal

PROGRESS_INTERVAL = 0.25
"""Seconds between two progress updates of one job: people see no difference in more of them."""

PENDING_LIMIT = 16
"""Changes of state that wait while nothing can be published; beyond it the oldest is dropped."""

LEASE = 30
"""Seconds of silence after which the log shows a job as lost."""

VERIFIED_RENEWALS = 10
"""Renewals after which a job that asks people looks whether the log still has its question."""

_SHORT_LEASE = 15
"""Shortest lease, in seconds, that a renewal every 5 s holds although two of them fail."""


class _Shown(Struct):
    """Facts of a job that change, as people see them."""

    fraction: float | None = None
    stage: str | None = None
    message: str | None = None
    seconds_left: float | None = None
    question: dict[str, Any] | None = None
    error: str | None = None
    retry_at: int | None = None


class JobState:
    """State of one run of a job, and its updates that are not published yet.

    Each change of state is an update of its own; of progress only the newest is, every
    `PROGRESS_INTERVAL` seconds. An end state is final. Versions are Unix milliseconds and always
    grow within one process. They order nothing between processes, whose clocks differ: the order
    of the events does.

    Args:
        job: the job's id.
        title: name of the job for people.
        attempt: name of this run, which owns the job's key from its start on.
        is_named: whether a queue gave that name, so that a report from another process is one of
            the run itself. Otherwise a report without a start ends the job by authority.
        parent: id of the job that this one is a part of.
        cancellable: whether people may cancel it.
        lease: seconds of silence after which the log shows the job as lost.

    """

    def __init__(
        self,
        job: str,
        *,
        title: str,
        attempt: str,
        is_named: bool = False,
        parent: str | None = None,
        cancellable: bool = False,
        lease: int = LEASE,
    ) -> None:
        self.state: str = "queued"
        self.attempt: str = attempt
        self.refused: Literal["superseded", "ended"] | None = None
        """Reason for which the log takes no further update of this run."""
        self.interruption: Literal["cancelled", "superseded"] | None = None
        """Reason for which this run should stop, as the log shows it."""
        self.by: str | None = None
        """The user who cancelled the job."""
        self.answers: dict[str, Any] = {}
        """Answers to the job's questions, by their ids."""
        self.result: Any = None
        self._shown = _Shown()
        self._job = job
        self._title = title
        self._parent = parent
        self._cancellable = cancellable
        will = {"event": "job.lost", "data": {"job": job, "title": title, "state": "lost"}}
        self._lease: dict[str, Any] = {"lease": lease, "will": will}
        self._is_own = is_named
        self._renewals = 0
        self._version = 0
        self._has_progress = False
        self._progress_at = float("-inf")
        self._pending: deque[JobUpdate] = deque(maxlen=PENDING_LIMIT)

    @property
    def needs_renewals(self) -> bool:
        """True if the lease is renewed each second: people are asked, or it is a short one."""
        return self.state == "asking" or self._lease["lease"] < _SHORT_LEASE

    @property
    def has_ended(self) -> bool:
        """True if nothing changes this run any more."""
        return self.state in END_STATES or self.refused is not None

    def start_event(self, channel: str) -> Event:
        """Return the event of a start, which checks all that an update is made of.

        Raises:
            InvalidEventError: the channel, the attempt or the lease is not valid.

        """
        key, attempt = job_key(self._job), self.attempt
        fields: Any = {"key": key, "attempt": attempt, "take": "always", **self._lease}
        return Event(channel=channel, event="job.started", data=None, **fields)

    def change(
        self, name: str, now_ms: int, *, error: str | None = None, retry_at: int | None = None
    ) -> None:
        """Enter the state of the event `job.{name}`, unless the run has ended."""
        if self.has_ended:
            return
        # The last progress precedes the change: clients show where the job was when it ended.
        if self._has_progress:
            self._append_update(self._name_of_progress, now_ms)
        self.state = "running" if name == "started" else name
        self._shown.error = error
        self._shown.retry_at = retry_at
        self._shown.seconds_left = None
        self._shown.question = None
        if name == "completed":
            self._shown.fraction = 1.0
        self._append_update(name, now_ms)

    def ask(self, question: dict[str, Any], now_ms: int) -> None:
        """Ask a question: an object of `id`, `text` and `choices`."""
        if not self.has_ended:
            self.state, self._shown.question = "asking", question
            self._append_update("asking", now_ms)

    def resume(self, now_ms: int) -> JobUpdate | None:
        """Go on without the question, and return the update of it."""
        if self.state != "asking" or self.has_ended:
            return None
        self.state, self._shown.question = "running", None
        self._append_update("progress", now_ms)
        return self._pending[-1]

    def set_progress(
        self,
        fraction: float | None = None,
        message: str | None = None,
        stage: str | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Set the progress; an omitted argument keeps its value."""
        if self.has_ended:
            return
        self._has_progress = True
        if self.state in ("queued", "retrying"):
            self.state = "running"
        if fraction is not None:
            self._shown.fraction = fraction
        if message is not None:
            self._shown.message = message
        if stage is not None:
            self._shown.stage = stage
        if seconds_left is not None:
            self._shown.seconds_left = seconds_left

    def lapsed(self, now_ms: int) -> None:
        """Report the present state: the log has shown this run as lost, or has lost the job."""
        if not self.has_ended:
            self._append_update(self._name_of_progress, now_ms)

    def renewed(self) -> bool:
        """Return whether to read the job: a log that was rolled back may lack the question."""
        self._renewals += 1
        return self.state == "asking" and self._renewals % VERIFIED_RENEWALS == 0

    def noted(self, snapshot: JobSnapshot, now_ms: int) -> None:
        """Follow what the log has of the job: a request to cancel it, an answer, another owner."""
        if self.refused is None:
            self.answers, is_cancelled = snapshot.answers, snapshot.is_cancelling
            question = self._shown.question
            if question and not (self._pending or snapshot.knows_question(question["id"])):
                self._append_update("asking", now_ms)  # lost in a rollback: it is asked again
        else:
            self.interruption, is_cancelled = "superseded", snapshot.state == "cancelled"
        if is_cancelled:
            self.interruption, self.by = "cancelled", snapshot.by

    def refuse(self, update: JobUpdate | None, reason: Refusal) -> None:
        """Follow the log's refusal of an update, or of a renewal of the lease."""
        match reason:
            case "gone":
                # The log has lost everything, or never had the start of this run.
                self._is_own = True
                if self._pending and self._pending[0] is update:
                    self._pending[0] = update.taking_absent(self._lease)
            case "superseded" | "ended":
                self.refused = reason
                self.discard_pending()
            case _ if update:
                # A late `queued`: the job has run already.
                self.remove(update)

    def seconds_until_due(self, now: float) -> float | None:
        """Return the seconds until the next update is due; None without one."""
        if self._pending:
            return 0.0
        return max(0.0, self._progress_at + PROGRESS_INTERVAL - now) if self._has_progress else None

    def next_update(self, now: float, now_ms: int) -> JobUpdate | None:
        """Return the update that is due; it stays the next one until `remove`."""
        is_due = self._has_progress and self._progress_at + PROGRESS_INTERVAL <= now
        if is_due and not self._pending:
            self._progress_at = now
            self._append_update(self._name_of_progress, now_ms)
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
        """Discard all updates: another process publishes them, or the log takes none of them."""
        self._has_progress = False
        self._pending.clear()

    @property
    def _name_of_progress(self) -> str:
        return "asking" if self.state == "asking" else "progress"

    def _append_update(self, name: str, now_ms: int) -> None:
        self._has_progress = False
        # Clocks may go back, versions may not.
        self._version = max(self._version + 1, now_ms)
        update = JobUpdate(event=f"job.{name}", data=self._data(), write=self._write(name))
        self._pending.append(update)

    def _write(self, name: str) -> dict[str, Any]:
        """Return the fields by which an update changes the job's key."""
        write: dict[str, Any] = {"attempt": self.attempt}
        if name == "queued":
            return {}
        if name == "started":
            self._is_own = True
            return write | {"take": "always"} | self._lease
        if name in END_STATES:
            write["fold"] = "end"
        elif name == "retrying" and self._is_own:
            write["lease"] = 0  # no worker has the job: silence is no sign of a lost one
        if self._is_own:
            return write
        if name in END_STATES or name == "retrying":
            return write | {"take": "open"}
        self._is_own = True  # a run without a start, unless another one has the job
        return write | {"take": "absent"} | self._lease

    def _data(self) -> dict[str, Any]:
        return {
            "job": self._job,
            "title": self._title,
            "state": self.state,
            "progress": self._shown.fraction,
            "stage": self._shown.stage,
            "message": self._shown.message,
            "error": self._shown.error,
            "retry_at": self._shown.retry_at,
            "eta": self._shown.seconds_left,
            "parent": self._parent,
            "cancellable": self._cancellable or None,
            "question": self._shown.question,
            "result": self.result if self.state == "completed" else None,
            "by": self.by if self.state == "cancelled" else None,
            "version": self._version,
        }
