"""Tasks of a queue as jobs: the part that the integrations of all queues share."""

import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import orjson

from realtime_bridge.errors import JobCancelledError, JobSupersededError
from realtime_bridge.integrations.handover import Handover
from realtime_bridge.jobs.blocking_job import BlockingJob
from realtime_bridge.jobs.silent_job import SilentJob
from realtime_bridge.jobs.values import FAILURES
from realtime_bridge.publishing.blocking import BlockingBroadcaster


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Call of a task: id, name and arguments.

    `kwargs` has the arguments by their names, also those that were given by position and the
    defaults, where this process knows the task's function. `attempt` names the run, where the
    queue has a name for it; `parent` is the id of the task that called this one, if that is shown.
    """

    id: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    attempt: str | None = None
    parent: str | None = None


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
    """Task that runs, and its job."""

    task_id: str
    channel: str | None
    job: BlockingJob | None


Channel = Callable[[Task], str | None]
"""Function that returns the channel of a task; None for a task without watchers."""

Title = Callable[[Task], str]
"""Function that returns the title of a task; the default is the last part of its name."""

Cancellable = Callable[[Task], bool]
"""Function that returns whether people may cancel a task; without one they may cancel none."""

MAX_LATE = 1_000
"""Jobs that a process hands over at its end, the last ones; a child has few of them."""

_logger = logging.getLogger("realtime_bridge.integrations")
_runs: ContextVar[tuple[_Run, ...]] = ContextVar("realtime_bridge_runs", default=())
"""Tasks that run in this thread or asyncio task: a task may call another one directly."""


def current_job() -> BlockingJob:
    """Return the job of the task that runs here, to report its progress.

    It is a job that reports nothing where there is no other: the task has no channel, or its
    function is called outside of a worker, as in a test. Code that an async task runs by
    `asyncio.to_thread` has the job of the task.
    """
    runs = _runs.get()
    return (runs[-1].job if runs else None) or SilentJob()


def _run_of(task_id: str) -> "_Run | None":
    """Return the innermost run of a task here."""
    return next((run for run in reversed(_runs.get()) if run.task_id == task_id), None)


def unix_ms_after(seconds: float) -> int:
    """Return the time `seconds` from now, in Unix milliseconds."""
    return int((time.time() + seconds) * 1000)


class TaskReporter:
    """Reporter of task states, in clients, workers and their parent processes.

    Args:
        broadcaster: publisher; it may be made at module level, and works after a fork.
        channel: returns the channel of a task.
        title: returns the title that people see.
        cancellable: returns whether people may cancel a task.
        result: whether people see what a task returns.
        errors: the errors that stop a task, in the form that its queue takes for no failure.

    """

    def __init__(
        self,
        broadcaster: BlockingBroadcaster,
        channel: Channel,
        title: Title | None = None,
        *,
        cancellable: Cancellable | None = None,
        result: bool = False,
        errors: tuple[type[JobCancelledError], type[JobSupersededError]] = (
            JobCancelledError,
            JobSupersededError,
        ),
    ) -> None:
        self._broadcaster = broadcaster
        self._channel = channel
        self._title = title or _name
        self._cancellable = cancellable or (lambda _: False)
        self._has_results = result
        self._errors = errors
        self._late: list[BlockingJob] = []

    def load(self) -> None:
        """Load what reports need, in the parent of the processes that send them."""
        self._broadcaster.load()

    def queued(self, task: Task) -> None:
        """Report that the task waits in the queue."""
        self._report(task, "queued")

    def started(self, task: Task) -> None:
        """Report that the task runs here; `current_job` knows of an earlier cancel."""
        if job := self._begin(task):
            job.report("started")

    def retrying(self, task: Task, error: str | None = None, retry_at: int | None = None) -> None:
        """Report a failure that is retried, at `retry_at` in Unix milliseconds."""
        self._report(task, "retrying", error, retry_at)

    def completed(self, task: Task, result: object = None) -> None:
        """Report success."""
        self._keep_result(task, result)
        self._report(task, "completed")

    def failed(self, task: Task, error: str) -> None:
        """Report the final failure: an exception, a time limit, or a lost process."""
        self._report(task, "failed", error)

    def cancelled(self, task: Task, reason: str | None = None) -> None:
        """Report that the task was cancelled."""
        self._report(task, "cancelled", reason)

    async def started_async(self, task: Task) -> None:
        """Do as `started`, without blocking the event loop."""
        if job := self._begin(task):
            await job.report_async("started")

    async def report_async(
        self,
        task: Task,
        state: str,
        *,
        error: str | None = None,
        retry_at: int | None = None,
        result: object = None,
    ) -> None:
        """Report a state of a task, other than its start, without blocking the event loop."""
        self._keep_result(task, result)
        job = self._leave(task)
        if job and not await job.report_async(state, error=error, retry_at=retry_at):
            self._keep(job)

    def shows(self, parent: str, task: Task) -> bool:
        """Return whether a task that runs here is a job on the channel of another."""
        run = _run_of(parent)
        return run is not None and bool(run.job) and run.channel == self._channel_of(task)

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
        job = self._leave(task)
        if job and not job.report(state, error=error, retry_at=retry_at):
            self._keep(job)

    def _begin(self, task: Task) -> BlockingJob | None:
        """Return the job of a task that starts here; `current_job` returns the same from now on."""
        channel = self._channel_of(task)
        job = self._job(task, channel)
        _runs.set((*_runs.get(), _Run(task.id, channel, job)))
        return job

    def _leave(self, task: Task) -> BlockingJob | None:
        """Return the job of a task that ends, here or elsewhere."""
        run = _run_of(task.id)
        if run is None:
            return self._job(task, self._channel_of(task))
        # With the tasks that it called, whose end may be missing.
        runs = _runs.get()
        _runs.set(runs[: runs.index(run)])
        return run.job

    def _keep_result(self, task: Task, result: object) -> None:
        if self._has_results and result is not None and (run := _run_of(task.id)) and run.job:
            run.job.set_result(result)

    def _channel_of(self, task: Task) -> str | None:
        # A wrong function of the application must not fail the task itself.
        try:
            return self._channel(task)
        except Exception:
            _logger.exception("task not reported task=%s id=%s", task.name, task.id)
            return None

    def _job(self, task: Task, channel: str | None) -> BlockingJob | None:
        if channel is None:
            return None
        try:
            job = self._broadcaster.job(
                channel,
                id=task.id,
                title=self._title_of(task),
                parent=task.parent,
                attempt=task.attempt,
                cancellable=self._cancellable(task),
            )
        except Exception:
            _logger.exception("task not reported task=%s id=%s", task.name, task.id)
            return None
        job.raise_as(*self._errors)
        return job

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
    return task.name.replace(":", ".").rpartition(".")[2]
