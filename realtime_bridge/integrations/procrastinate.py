"""Procrastinate's jobs as jobs of ours, by its job manager and a middleware of its workers.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.procrastinate import track_tasks

    broadcaster = BlockingBroadcaster.from_env()
    track_tasks(app, broadcaster, lambda task: f"user-{task.kwargs['user_id']}")

Call it where the application is made: clients and workers both need it.
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from realtime_bridge.errors import (
    ExtraNotInstalledError,
    JobCancelledError,
    JobSupersededError,
)
from realtime_bridge.integrations.async_tasks import run_async
from realtime_bridge.integrations.cancel_hooks import CancelHooks
from realtime_bridge.integrations.tasks import (
    Cancellable,
    Channel,
    Task,
    TaskReporter,
    Title,
    current_job,
)
from realtime_bridge.jobs.queue_errors import TaskEnd
from realtime_bridge.publishing.blocking import BlockingBroadcaster

try:
    from procrastinate import App, JobContext
    from procrastinate.connector import BaseConnector
    from procrastinate.exceptions import JobAborted
    from procrastinate.job_context import AbortReason
    from procrastinate.jobs import Job, Status
    from procrastinate.manager import JobManager
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError(
        "Jobs of Procrastinate", missing=_error.name or "procrastinate", extra="procrastinate"
    ) from _error

__all__ = [
    "ProcrastinateCancelled",
    "ProcrastinateSuperseded",
    "Task",
    "cancel_on_cancel",
    "current_job",
    "track_tasks",
]


class ProcrastinateCancelled(JobCancelledError, JobAborted):  # noqa: N818 -- as `CeleryCancelled`
    """Job that people cancelled: Procrastinate has it as aborted, and does not retry it."""


class ProcrastinateSuperseded(JobSupersededError, JobAborted):  # noqa: N818
    """Job that another worker runs again: Procrastinate does not retry this run."""


def track_tasks(
    app: App,
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    cancellable: Cancellable | None = None,
    result: bool = False,
) -> None:
    """Report every job from now on, in each process that calls this.

    Args:
        app: application of the tasks.
        broadcaster: publisher.
        channel: returns the channel of a job; None for a job without watchers.
        title: returns the title of a job; the last part of its task's name by default.
        cancellable: returns whether people may cancel a job: an async one is cancelled where it
            waits, another one gets ProcrastinateCancelled at its next `progress`, `track` or
            `check`.
        result: people see what a job returns, up to 32 KiB of JSON.

    """
    reporter = TaskReporter(
        broadcaster,
        channel,
        title,
        cancellable=cancellable,
        result=result,
        errors=(ProcrastinateCancelled, ProcrastinateSuperseded),
    )
    app.job_manager = _JobManager(reporter, app.connector)
    defaults = app.worker_defaults
    others = defaults.get("worker_middleware") or []
    # The first one is the outermost: it gets the outcome that Procrastinate gets.
    defaults["worker_middleware"] = [functools.partial(_run, reporter), *others]


def cancel_on_cancel(bridge: CancelHooks, app: App) -> None:
    """Cancel a waiting job of Procrastinate that people cancel, so that no worker starts it.

    Args:
        bridge: bridge whose pages cancel.
        app: application of the jobs, opened by `open_async` where the bridge runs.

    """

    async def cancel(channel: str, job: str, by: str | None) -> None:  # noqa: ARG001 -- the hook's form
        await app.job_manager.cancel_job_by_id_async(int(job))

    bridge.on_cancel(cancel)


class _JobManager(JobManager):
    """Job manager that reports what clients do; all of them pass through it.

    A job that is deferred or cancelled on a connection of the application is not reported: its
    transaction may still be rolled back.
    """

    def __init__(self, jobs: TaskReporter, connector: BaseConnector) -> None:
        super().__init__(connector)
        self._jobs = jobs

    def batch_defer_jobs(self, jobs: list[Job], connection: Any | None = None) -> list[Job]:
        deferred = super().batch_defer_jobs(jobs, connection)
        for job in deferred if connection is None else ():
            self._jobs.queued(_task(job))
        return deferred

    async def batch_defer_jobs_async(
        self, jobs: list[Job], connection: Any | None = None
    ) -> list[Job]:
        deferred = await super().batch_defer_jobs_async(jobs, connection)
        for job in deferred if connection is None else ():
            await self._jobs.report_async(_task(job), "queued")
        return deferred

    async def defer_periodic_job(
        self, job: Job, periodic_id: str, defer_timestamp: int
    ) -> int | None:
        job_id = await super().defer_periodic_job(job, periodic_id, defer_timestamp)
        if job_id is not None:
            await self._jobs.report_async(_task(job.evolve(id=job_id)), "queued")
        return job_id

    def cancel_job_by_id(
        self,
        job_id: int,
        abort: bool = False,  # noqa: FBT001, FBT002 -- Procrastinate's arguments
        delete_job: bool = False,  # noqa: FBT001, FBT002
        connection: Any | None = None,
    ) -> bool:
        waiting = [*self.list_jobs(id=job_id, status=Status.TODO.value)]
        is_cancelled = super().cancel_job_by_id(job_id, abort, delete_job, connection)
        for job in waiting if is_cancelled and connection is None else ():
            self._jobs.cancelled(_task(job))
        return is_cancelled

    async def cancel_job_by_id_async(
        self,
        job_id: int,
        abort: bool = False,  # noqa: FBT001, FBT002
        delete_job: bool = False,  # noqa: FBT001, FBT002
        connection: Any | None = None,
    ) -> bool:
        waiting = [*await self.list_jobs_async(id=job_id, status=Status.TODO.value)]
        is_cancelled = await super().cancel_job_by_id_async(job_id, abort, delete_job, connection)
        for job in waiting if is_cancelled and connection is None else ():
            await self._jobs.report_async(_task(job), "cancelled")
        return is_cancelled


async def _run(
    jobs: TaskReporter,
    call_next: Callable[[], Awaitable[Any]],
    context: JobContext,
    worker: Any,  # noqa: ARG001 -- Procrastinate's arguments
) -> Any:
    """Run a job as one of ours: a middleware of workers."""
    task = context.app.tasks.get(context.job.task_name)
    # The end of a wait for a thread would not end the thread.
    is_async = task is not None and inspect.iscoroutinefunction(task.func)
    return await run_async(
        jobs,
        _task(context.job),
        call_next,
        functools.partial(_end, context),
        is_interruptible=is_async,
    )


def _end(context: JobContext, error: BaseException) -> TaskEnd:
    """Return the state in which Procrastinate leaves a job that raised; as its worker decides."""
    is_shutdown = context.abort_reason() == AbortReason.SHUTDOWN
    task = context.app.tasks.get(context.job.task_name)
    if task and (is_shutdown or not isinstance(error, JobAborted)):
        retry = task.get_retry_exception(exception=error, job=context.job)
        if retry:
            at = retry.retry_decision.retry_at
            return TaskEnd("retrying", error, at.timestamp() * 1_000 if at else None)
    if isinstance(error, JobAborted | asyncio.CancelledError):
        return TaskEnd("cancelled", "the worker stopped" if is_shutdown else None)
    return TaskEnd("failed", error)


def _task(job: Job) -> Task:
    return Task(id=str(job.id), name=job.task_name, kwargs=job.task_kwargs)
