"""Jobs that report: started, progress, and one of completed, failed or cancelled."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import orjson

from realtime_bridge.errors import AnswerTimeoutError, JobCancelledError, JobSupersededError
from realtime_bridge.jobs.log_lines import LogLines
from realtime_bridge.jobs.publisher import JobHost
from realtime_bridge.jobs.queue_errors import end_of_task
from realtime_bridge.jobs.reporter import JobReporter
from realtime_bridge.jobs.state import LEASE, JobState
from realtime_bridge.jobs.values import FAILURES, error_text, to_job_id, to_number, to_text
from realtime_bridge.model import ids

RESULT_BYTES = 32 * 1024
"""Longest result of a job, in bytes of JSON."""

ANSWER_SECONDS = 600.0
"""Time in which a question should be answered."""

_CANCELLATIONS = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, JobCancelledError)

_logger = logging.getLogger("realtime_bridge.jobs")


class Job:
    """Base of both kinds of job: reports progress, and never fails the work.

    Its texts and numbers may be values of any kind, see `realtime_bridge.jobs.values`.

    Args:
        channel: channel of the reports.
        host: broadcaster of the reports.
        id: the job's id; None creates one. A long one is shortened, see `values.to_job_id`.
        title: name of the job for people.
        parent: id of the job on the same channel that this one is a part of.
        attempt: name of this run, where a queue has a name for it; random otherwise.
        cancellable: people may cancel the job.
        lease: seconds of silence after which the job is shown as lost, 5 to 3 600.

    Raises:
        InvalidEventError: the channel, the attempt or the lease is not valid.

    """

    _errors: tuple[type[JobCancelledError], type[JobSupersededError]] = (
        JobCancelledError,
        JobSupersededError,
    )

    def __init__(
        self,
        channel: str,
        host: JobHost,
        *,
        id: str | None = None,  # noqa: A002 -- as in `publish`
        title: str | None = None,
        parent: str | None = None,
        attempt: str | None = None,
        cancellable: bool = False,
        lease: float = LEASE,
    ) -> None:
        self.id: str = to_id(id)
        self._channel = channel
        self._host = host
        self._cancellable = cancellable
        state = JobState(
            self.id,
            title=to_text(title) or f"Job {self.id}",
            attempt=ids.nonce() if attempt is None else attempt,
            is_named=attempt is not None,
            parent=None if parent is None else to_job_id(parent),
            cancellable=cancellable,
            lease=round(lease),
        )
        self._state = state
        self._reporter = JobReporter(channel, self.id, state, host.reports)
        self._lines: LogLines | None = None
        self._streams: list[Any] = []
        """Streams that end with the job."""

    @property
    def attempt(self) -> str:
        """Name of this run."""
        return self._state.attempt

    @property
    def cancelling(self) -> bool:
        """True once people asked to cancel the job."""
        return self._state.interruption == "cancelled"

    def check(self) -> None:
        """Check that a cancellable job should go on; any other may always.

        Raises:
            JobCancelledError: people asked to cancel the job.
            JobSupersededError: another run took the job over.

        """
        if self._cancellable and self._state.interruption:
            raise self._interruption()

    def progress(
        self, fraction: float | None = None, message: str | None = None, *, stage: str | None = None
    ) -> None:
        """Report the progress of the job; an omitted argument keeps its value.

        At most 4 updates per second are published, and always the last one. The other calls take
        microseconds.

        Args:
            fraction: 0 to 1.
            message: text for people.
            stage: name of the current step.

        Raises:
            JobCancelledError, JobSupersededError: as for `check`, in a job that is not async.

        """
        # Before the reporter's lock: a value's `__str__` may call this job itself.
        self._reporter.set_progress(to_number(fraction), to_text(message), to_text(stage))
        if self._state.interruption:
            self._check_in_passing()

    def set_result(self, value: Any) -> None:
        """Keep a value of up to 32 KiB of JSON for `job.completed`; log one that is none."""
        try:
            body = orjson.dumps(value)
        except TypeError as error:
            _logger.warning("job has no result job=%s error=%r", self.id, str(error))
            return
        if len(body) > RESULT_BYTES:
            _logger.warning("job has no result job=%s bytes=%d", self.id, len(body))
            return
        self._state.result = orjson.loads(body)  # a later change of the value has no effect

    def log(self, line: str) -> None:
        """Add a line to the stream `log-{id}` of the channel; at most two parts a second."""
        if self._lines is None:
            self._lines = LogLines(self._channel, self.id, self.attempt, self._host.reports)
        self._lines.add(to_text(line) or "")

    def _check_in_passing(self) -> None:
        """Raise what stops code that is not async; an async block is cancelled instead."""

    def _interruption(self) -> JobCancelledError | JobSupersededError:
        cancelled, superseded = self._errors
        if self._state.interruption == "cancelled":
            by = f" by {self._state.by}" if self._state.by else ""
            return cancelled(f"Job {self.id} was cancelled{by}: end its work")
        return superseded(f"Another run took over job {self.id}: end this one")

    def _ask(self, question: str, asked: str, choices: Sequence[str] | None) -> None:
        options = None if choices is None else [to_text(choice) or "" for choice in choices]
        self._reporter.ask({"id": asked, "text": to_text(question) or "", "choices": options})

    async def _ask_async(
        self, question: str, asked: str, choices: Sequence[str] | None, seconds: float
    ) -> Any:
        deadline = time.monotonic() + seconds
        self._ask(question, asked, choices)
        while True:
            # First: no answer is missed between the two.
            news = asyncio.wrap_future(self._reporter.news())
            if self._has_answer(asked):
                break
            done, _ = await asyncio.wait({news}, timeout=max(0, deadline - time.monotonic()))
            if not done:
                break
        self._reporter.resume()
        await self._reporter.wait_async()
        return self._answer_of(asked, seconds)

    def _has_answer(self, asked: str) -> bool:
        """Return whether a question is answered; see `ask`.

        Raises:
            JobCancelledError, JobSupersededError: as for `check`.

        """
        if asked in self._state.answers:
            return True
        if self._state.interruption and self._cancellable:
            self._reporter.resume()
            raise self._interruption()
        return False

    def _answer_of(self, asked: str, seconds: float) -> Any:
        """Return the answer; an answer before the end of the wait counts.

        Raises:
            AnswerTimeoutError: there is none.

        """
        if asked not in self._state.answers:
            raise AnswerTimeoutError(f"Job {self.id} got no answer within {seconds:g} s")
        return self._state.answers[asked]

    def _change(self, name: str, *, error: object = None, retry_at: object = None) -> None:
        at = to_number(retry_at)
        text = error_text(error) if isinstance(error, BaseException) else to_text(error)
        self._reporter.change(name, error=text, retry_at=None if at is None else int(at))

    def _end(self, error: BaseException | None) -> None:
        if self._lines is not None:
            self._lines.close()
        # `sys.exit()` and `sys.exit(0)` are the ends of a program whose work is done.
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self._change("completed")
        elif isinstance(error, _CANCELLATIONS):
            self._change("cancelled")
        elif not isinstance(error, JobSupersededError):
            end = end_of_task(error)
            self._change(end.state, error=end.error, retry_at=end.retry_at)

    def _count(self, total: float, started: float, done: int) -> None:
        left = (time.monotonic() - started) * max(0.0, total - done) / done
        self._reporter.set_progress(min(1.0, done / total), seconds_left=round(left, 1))


def to_id(value: Any) -> str:
    """Return the id of a job or of a question: the value as pages can name it, or a new one."""
    return ("" if value is None else to_job_id(value)) or ids.event_id()


def total_of(items: Any, total: Any) -> float | None:
    """Return the number of items; None where it is unknown."""
    try:
        count = to_number(len(items) if total is None else total)
    except FAILURES:
        # An iterator has no length, and the application's own `__len__` may fail.
        return None
    return count if count and count > 0 else None
