"""Tasks of a queue as jobs: the part that the integrations of all queues share."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from realtime_bridge.jobs.job import BlockingJob
from realtime_bridge.publishing.blocking import BlockingBroadcaster


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Call of a task: id, name and arguments."""

    id: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


Channel = Callable[[Task], str | None]
"""Function that returns the channel of a task; None for a task without watchers."""

Title = Callable[[Task], str]
"""Function that returns the title of a task; the default is the last part of its name."""

_logger = logging.getLogger("realtime_bridge.integrations")
_running = threading.local()


def current_job() -> BlockingJob | None:
    """Return the job of the task that runs in this thread, to report its progress."""
    job: BlockingJob | None = getattr(_running, "job", None)
    return job


def error_text(error: BaseException) -> str:
    """Return the error's message, or the name of its class if the message is empty."""
    return str(error) or type(error).__name__


def unix_ms_after(seconds: float) -> int:
    """Return the time `seconds` from now, in Unix milliseconds."""
    return int((time.time() + seconds) * 1000)


class TaskReporter:
    """Reporter of task states, in clients, workers and their parent processes.

    Args:
        broadcaster: publisher; it may be made at module level, and works after a fork.
        channel: returns the channel of a task.
        title: returns the title that people see.

    """

    def __init__(
        self, broadcaster: BlockingBroadcaster, channel: Channel, title: Title | None
    ) -> None:
        self._broadcaster = broadcaster
        self._channel = channel
        self._title = title or _name

    def queued(self, task: Task) -> None:
        """Report that the task waits in the queue."""
        self._report(task, "queued")

    def started(self, task: Task) -> None:
        """Report that the task runs in this thread."""
        job = self._job(task)
        if job:
            job.report("started")
        _running.job = job

    def retrying(self, task: Task, error: str | None = None, retry_at: int | None = None) -> None:
        """Report a failure that is retried, at `retry_at` in Unix milliseconds."""
        self._report(task, "retrying", error, retry_at)

    def completed(self, task: Task) -> None:
        """Report success."""
        self._report(task, "completed")

    def failed(self, task: Task, error: str) -> None:
        """Report the final failure: an exception, a time limit, or a lost process."""
        self._report(task, "failed", error)

    def cancelled(self, task: Task) -> None:
        """Report that the task was cancelled."""
        self._report(task, "cancelled")

    def _report(
        self, task: Task, state: str, error: str | None = None, retry_at: int | None = None
    ) -> None:
        running = current_job()
        is_current = running is not None and running.id == task.id
        job = running if is_current else self._job(task)
        if job:
            job.report(state, error=error, retry_at=retry_at)
        if is_current:
            _running.job = None

    def _job(self, task: Task) -> BlockingJob | None:
        try:
            channel = self._channel(task)
            if channel is None:
                return None
            return self._broadcaster.job(channel, id=task.id, title=self._title(task))
        except Exception:
            # A wrong channel or title function must not fail the task itself.
            _logger.exception("task not reported task=%s id=%s", task.name, task.id)
            return None


def _name(task: Task) -> str:
    return task.name.rpartition(".")[2]
