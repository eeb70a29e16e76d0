"""A queue's tasks as jobs: what the module of every queue tells, each from its own signals."""

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
    """One call of a task: its id, its name, and what it was called with."""

    id: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


Channel = Callable[[Task], str | None]
"""Where to tell of a task; None for one that nobody watches."""

Title = Callable[[Task], str]
"""What people call it; its name, when that is not said."""

_logger = logging.getLogger("realtime_bridge.integrations")
_running = threading.local()


def current_job() -> BlockingJob | None:
    """Return the job of the task that runs in this thread: call its `progress`."""
    job: BlockingJob | None = getattr(_running, "job", None)
    return job


def said(error: BaseException) -> str:
    """Return what an error says, or its name if it says nothing."""
    return str(error) or type(error).__name__


def moment(seconds: float) -> int:
    """Return when so many seconds will have passed, in Unix milliseconds."""
    return int((time.time() + seconds) * 1000)


class TaskReporter:
    """Tells of tasks, from whichever process knows: a client's, a worker's, or its parent.

    Args:
        broadcaster: what publishes; it may be made at module level, and survives fork.
        channel: where to tell of a task.
        title: what people call it.

    """

    def __init__(
        self, broadcaster: BlockingBroadcaster, channel: Channel, title: Title | None
    ) -> None:
        self._broadcaster = broadcaster
        self._channel = channel
        self._title = title or _name

    def queued(self, task: Task) -> None:
        """Tell that it waits."""
        self._tell(task, "queued")

    def started(self, task: Task) -> None:
        """Tell that it runs, in this thread."""
        job = self._job(task)
        if job:
            job.report("started")
        _running.job = job

    def retrying(self, task: Task, error: str | None = None, retry_at: int | None = None) -> None:
        """Tell that it failed, and will be tried again: when, in Unix milliseconds."""
        self._tell(task, "retrying", error, retry_at)

    def completed(self, task: Task) -> None:
        """Tell that it is done."""
        self._tell(task, "completed")

    def failed(self, task: Task, error: str) -> None:
        """Tell that it failed for good: it raised, ran out of time, or its process is gone."""
        self._tell(task, "failed", error)

    def cancelled(self, task: Task) -> None:
        """Tell that somebody took it back."""
        self._tell(task, "cancelled")

    def _tell(
        self, task: Task, state: str, error: str | None = None, retry_at: int | None = None
    ) -> None:
        running = current_job()
        mine = running is not None and running.id == task.id
        job = running if mine else self._job(task)
        if job:
            job.report(state, error=error, retry_at=retry_at)
        if mine:
            _running.job = None

    def _job(self, task: Task) -> BlockingJob | None:
        try:
            channel = self._channel(task)
            if channel is None:
                return None
            return self._broadcaster.job(channel, id=task.id, title=self._title(task))
        except Exception:
            _logger.exception("task %s of %s is not told of", task.id, task.name)
            return None


def _name(task: Task) -> str:
    return task.name.rpartition(".")[2]
