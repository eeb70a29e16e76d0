"""Tasks of a queue as jobs: the part that the integrations of all queues share."""

import inspect
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from realtime_bridge.integrations.handover import Handover
from realtime_bridge.jobs.blocking_job import BlockingJob
from realtime_bridge.jobs.silent_job import SilentJob
from realtime_bridge.jobs.values import FAILURES
from realtime_bridge.publishing.blocking import BlockingBroadcaster


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Call of a task: id, name and arguments.

    `kwargs` has the arguments by their names, also those that were given by position and the
    defaults, where this process knows the task's function.
    """

    id: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def arguments_by_name(
    function: object, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the arguments of a call by their names; only the named ones if the call cannot fit."""
    if not callable(function):
        return kwargs
    try:
        call = inspect.signature(function).bind_partial(*args, **kwargs)
    except (TypeError, ValueError):
        return kwargs
    call.apply_defaults()
    kinds = {name: parameter.kind for name, parameter in call.signature.parameters.items()}
    unnamed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {name: value for name, value in call.arguments.items() if kinds[name] not in unnamed}
    return {**named, **kwargs}


@dataclass(frozen=True, slots=True)
class _Run:
    """Task that runs in a thread, and its job."""

    task_id: str
    job: BlockingJob | None


Channel = Callable[[Task], str | None]
"""Function that returns the channel of a task; None for a task without watchers."""

Title = Callable[[Task], str]
"""Function that returns the title of a task; the default is the last part of its name."""

MAX_LATE = 1_000
"""Jobs that a process hands over at its end, the last ones; a child has few of them."""

_logger = logging.getLogger("realtime_bridge.integrations")
_running = threading.local()


def current_job() -> BlockingJob:
    """Return the job of the task that runs in this thread, to report its progress.

    It is a job that reports nothing where there is no other: the task has no channel, or its
    function is called outside of a worker, as in a test.
    """
    stack = _stack()
    return (stack[-1].job if stack else None) or SilentJob()


def _stack() -> "list[_Run]":
    """Return the tasks that run in this thread: a task may call another one directly."""
    try:
        stack: list[_Run] = _running.stack
    except AttributeError:
        stack = _running.stack = []
    return stack


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
        self._late: list[BlockingJob] = []

    def queued(self, task: Task) -> None:
        """Report that the task waits in the queue."""
        self._report(task, "queued")

    def started(self, task: Task) -> None:
        """Report that the task runs in this thread."""
        job = self._job(task)
        if job:
            job.report("started")
        _stack().append(_Run(task.id, job))

    def retrying(self, task: Task, error: str | None = None, retry_at: int | None = None) -> None:
        """Report a failure that is retried, at `retry_at` in Unix milliseconds."""
        self._report(task, "retrying", error, retry_at)

    def completed(self, task: Task) -> None:
        """Report success."""
        self._report(task, "completed")

    def failed(self, task: Task, error: str) -> None:
        """Report the final failure: an exception, a time limit, or a lost process."""
        self._report(task, "failed", error)

    def cancelled(self, task: Task, reason: str | None = None) -> None:
        """Report that the task was cancelled."""
        self._report(task, "cancelled", reason)

    def close(self, handover: Handover | None = None) -> None:
        """Wait for the reports, at most 5 s, before this process ends without its exit handlers.

        Args:
            handover: takes what this process could not publish, for `take_over` in its parent.

        """
        try:
            self._broadcaster.close()
            late, self._late = self._late, []
            for job in late:
                if handover and (body := job.unsent()):
                    handover.send(body)
        except FAILURES:
            _logger.exception("job reports not finished")

    def take_over(self, body: bytes) -> None:
        """Publish the update of a child that ended before it could do so."""
        try:
            fields = orjson.loads(body)
            job = self._broadcaster.job(fields["channel"], id=fields["job"])
            job.forward(fields)
        except FAILURES:
            _logger.exception("job update lost bytes=%d", len(body))

    def _report(
        self, task: Task, state: str, error: str | None = None, retry_at: int | None = None
    ) -> None:
        stack = _stack()
        runs = [run for run in stack if run.task_id == task.id]
        job = runs[-1].job if runs else self._job(task)
        if job and not job.report(state, error=error, retry_at=retry_at):
            self._keep(job)
        if runs:
            # With the tasks that it called, whose end may be missing.
            del stack[stack.index(runs[-1]) :]

    def _job(self, task: Task) -> BlockingJob | None:
        # A wrong channel or title function must not fail the task itself.
        try:
            channel = self._channel(task)
            if channel is None:
                return None
            return self._broadcaster.job(channel, id=task.id, title=self._title_of(task))
        except Exception:
            _logger.exception("task not reported task=%s id=%s", task.name, task.id)
            return None

    def _title_of(self, task: Task) -> str:
        try:
            return self._title(task)
        except Exception:
            _logger.exception("task has no title task=%s id=%s", task.name, task.id)
            return _name(task)

    def _keep(self, job: BlockingJob) -> None:
        """Keep a job that is not published yet, for the end of this process."""
        self._late = [*(late for late in self._late if late.unsent()), job][-MAX_LATE:]


def _name(task: Task) -> str:
    return task.name.rpartition(".")[2]
