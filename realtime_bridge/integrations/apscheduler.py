"""APScheduler's jobs as jobs of ours, by its executors and its events.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.apscheduler import track_tasks

    broadcaster = BlockingBroadcaster.from_env()
    track_tasks(scheduler, broadcaster, lambda task: f"user-{task.kwargs['user_id']}")

Call it before the scheduler gets its jobs.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

from realtime_bridge.errors import ExtraNotInstalledError, JobCancelledError
from realtime_bridge.integrations.async_tasks import run_async
from realtime_bridge.integrations.tasks import (
    Cancellable,
    Channel,
    Task,
    TaskReporter,
    Title,
    arguments_by_name,
    current_job,
)
from realtime_bridge.jobs.queue_errors import TaskEnd, end_of_task
from realtime_bridge.jobs.values import error_text
from realtime_bridge.publishing.blocking import BlockingBroadcaster

try:
    from apscheduler import events
    from apscheduler.executors.pool import ProcessPoolExecutor
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError(
        "Jobs of APScheduler", missing=_error.name or "apscheduler", extra="apscheduler"
    ) from _error

__all__ = ["Task", "current_job", "track_tasks"]

_logger = logging.getLogger("realtime_bridge.integrations")


def track_tasks(
    scheduler: Any,
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    cancellable: Cancellable | None = None,
    result: bool = False,
) -> None:
    """Report every job of a scheduler from now on, but for those of process pools.

    Args:
        scheduler: scheduler of APScheduler 3, whose package has no types.
        broadcaster: publisher.
        channel: returns the channel of a job; None for a job without watchers.
        title: returns the title of a job; the last part of its name by default.
        cancellable: returns whether people may cancel a job: an async one is cancelled where it
            waits, another one gets JobCancelledError at its next `progress`, `track` or `check`.
        result: people see what a job returns, up to 32 KiB of JSON.

    """
    tracker = _Tracker(
        scheduler,
        TaskReporter(broadcaster, channel, title, cancellable=cancellable, result=result),
    )
    scheduler.add_listener(tracker.added, events.EVENT_JOB_ADDED)
    scheduler.add_listener(tracker.removed, events.EVENT_JOB_REMOVED)
    ends = events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR | events.EVENT_JOB_MISSED
    scheduler.add_listener(tracker.ended, ends)
    look_up = scheduler._lookup_executor
    # The one place where each run passes with its job; the events have the ids alone.
    scheduler._lookup_executor = lambda alias: _Executor(look_up(alias), tracker)


class _Tracker:
    """Reports of the jobs of one scheduler."""

    def __init__(self, scheduler: Any, jobs: TaskReporter) -> None:
        self.jobs = jobs
        self._scheduler = scheduler
        self._waiting: dict[str, Task] = {}
        """Jobs that were not submitted yet."""
        self._submitted: dict[str, Task] = {}

    def added(self, event: Any) -> None:
        """Report a new job; it may have any time and any number of runs before it."""
        if job := self._scheduler.get_job(event.job_id, event.jobstore):
            task = self._waiting[job.id] = _task(job)
            self.jobs.queued(task)

    def submitted(self, job: Any) -> None:
        """Note that a job is no longer waiting for its first run."""
        self._waiting.pop(job.id, None)
        self._submitted[job.id] = _task(job)

    def removed(self, event: Any) -> None:
        """Report a job that was removed before its first run."""
        if task := self._waiting.pop(event.job_id, None):
            self.jobs.cancelled(task)

    def ended(self, event: Any) -> None:
        """Report a run that came too late; each other one has reported its end itself."""
        task = self._submitted.pop(event.job_id, None)
        if task and event.code == events.EVENT_JOB_MISSED:
            self.jobs.failed(task, f"missed its time, {event.scheduled_run_time.isoformat()}")


class _Executor:
    """Executor whose jobs report themselves."""

    def __init__(self, executor: Any, tracker: _Tracker) -> None:
        self._executor = executor
        self._tracker = tracker

    def submit_job(self, job: Any, run_times: Any) -> None:
        if isinstance(self._executor, ProcessPoolExecutor):
            # Its processes have no reporter, and this one does not learn of their deaths.
            _logger.warning("job not reported job=%s reason=%r", job.id, "process pool")
            self._executor.submit_job(job, run_times)
            return
        self._tracker.submitted(job)
        self._executor.submit_job(_TrackedJob(job, self._tracker.jobs), run_times)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)


class _TrackedJob:
    """Job of APScheduler with a function that reports; its store keeps the job itself."""

    def __init__(self, job: Any, jobs: TaskReporter) -> None:
        self._job = job
        self.func: Callable[..., Any] = _reporting(job.func, _task(job), jobs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job, name)


def _reporting(function: Any, task: Task, jobs: TaskReporter) -> Callable[..., Any]:
    """Return a function, async if the given one is, that runs it as a job."""
    if inspect.iscoroutinefunction(function):

        async def run_in_loop(*args: Any, **kwargs: Any) -> Any:
            return await run_async(jobs, task, lambda: function(*args, **kwargs), _end)

        return run_in_loop

    def run(*args: Any, **kwargs: Any) -> Any:
        jobs.started(task)
        try:
            current_job().check()
            value = function(*args, **kwargs)
        except JobCancelledError:
            jobs.cancelled(task)
            raise
        except BaseException as error:
            jobs.failed(task, error_text(error))
            raise
        jobs.completed(task, value)
        return value

    return run


def _end(error: BaseException) -> TaskEnd:
    if isinstance(error, asyncio.CancelledError):
        return TaskEnd("cancelled", "the scheduler stopped")
    return end_of_task(error)


def _task(job: Any) -> Task:
    named = arguments_by_name(job.func, job.args, dict(job.kwargs))
    return Task(id=job.id, name=job.name, args=tuple(job.args), kwargs=named)
