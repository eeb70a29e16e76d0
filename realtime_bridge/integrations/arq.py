"""arq's jobs as jobs of ours, by its worker's settings and its client.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.arq import track_tasks

    broadcaster = BlockingBroadcaster.from_env()
    track_tasks(WorkerSettings, broadcaster, lambda task: f"user-{task.kwargs['user_id']}")

Call it in the module of the settings: clients and workers both need it.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, MutableMapping
from dataclasses import replace
from typing import Any

from realtime_bridge.errors import ExtraNotInstalledError
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
from realtime_bridge.jobs.blocking_job import BlockingJob
from realtime_bridge.jobs.queue_errors import TaskEnd, end_of_task
from realtime_bridge.jobs.values import error_text
from realtime_bridge.publishing.blocking import BlockingBroadcaster

try:
    from arq.connections import ArqRedis
    from arq.constants import job_key_prefix
    from arq.jobs import Job
    from arq.worker import func
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError(
        "Jobs of arq", missing=_error.name or "arq", extra="arq"
    ) from _error

__all__ = ["Task", "current_job", "track_tasks"]

_JOB = "realtime_bridge_job"
"""Key of a worker's context: the job whose end only the worker knows."""

_OPTIONS = {"_job_id", "_queue_name", "_defer_until", "_defer_by", "_expires", "_job_try"}
"""Arguments of `enqueue_job` that are none of the function."""

_logger = logging.getLogger("realtime_bridge.integrations")

MAX_TRIES = 5
"""arq's own default."""


def track_tasks(
    settings: Any,
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    cancellable: Cancellable | None = None,
    result: bool = False,
) -> None:
    """Report every job of these settings from now on, in each process that calls this.

    Args:
        settings: the worker's settings, a class or a dictionary, with their `functions`.
        broadcaster: publisher.
        channel: returns the channel of a job; None for a job without watchers.
        title: returns the title of a job; the last part of its function's name by default.
        cancellable: returns whether people may cancel a job: it is cancelled where it waits, or
            gets JobCancelledError at its next `progress`, `track` or `check`.
        result: people see what a job returns, up to 32 KiB of JSON.

    """
    reporter = TaskReporter(broadcaster, channel, title, cancellable=cancellable, result=result)
    values = _Settings(settings)
    tracker = _Tracker(reporter, values)
    for name in ("functions", "cron_jobs"):
        if entries := values.get(name):
            values.set(name, [tracker.track(entry) for entry in entries])
    values.set("after_job_end", tracker.after_job_end(values.get("after_job_end")))
    if not _trackers:
        # arq has no hook of its client, and its pools are made by `create_pool`.
        setattr(ArqRedis, "enqueue_job", _report_enqueued(ArqRedis.enqueue_job))  # noqa: B010 -- the type checker refuses the plain form
    _trackers.append(tracker)


class _Settings:
    """Settings of a worker, a class or a dictionary."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    def get(self, name: str, default: Any = None) -> Any:
        if isinstance(self._settings, MutableMapping):
            return self._settings.get(name, default)
        # As arq does: a static method counts, an inherited setting does not.
        value = vars(self._settings).get(name, default)
        return value.__func__ if isinstance(value, staticmethod) else value

    def set(self, name: str, value: Any) -> None:
        if isinstance(self._settings, MutableMapping):
            self._settings[name] = value
        else:
            setattr(self._settings, name, value)


class _Tracker:
    """Reports of the jobs of one worker's settings."""

    def __init__(self, jobs: TaskReporter, settings: _Settings) -> None:
        self._jobs = jobs
        self._settings = settings
        self.functions: dict[str, Any] = {}

    def track(self, entry: Any) -> Any:
        """Return a function or cron job of arq that reports itself."""
        function = entry if hasattr(entry, "next_run") else func(entry)
        self.functions[function.name] = function
        tries = function.max_tries

        @functools.wraps(function.coroutine)
        async def run(ctx: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            task = self._task(function.name, ctx["job_id"], args, kwargs)
            return await run_async(
                self._jobs,
                task,
                lambda: function.coroutine(ctx, *args, **kwargs),
                lambda error: self._end(error, ctx, tries),
            )

        return replace(function, coroutine=run)

    async def enqueued(self, name: str, job_id: str, args: Any, kwargs: Any) -> None:
        await self._jobs.report_async(self._task(name, job_id, args, kwargs), "queued")

    def _task(self, name: str, job_id: str, args: Any, kwargs: Any) -> Task:
        call = arguments_by_name(self.functions[name].coroutine, ({}, *args), kwargs)
        # The first argument is the worker's context.
        named = dict([*call.items()][1:]) if call is not kwargs else kwargs
        return Task(id=job_id, name=name, args=tuple(args), kwargs=named)

    def _end(self, error: BaseException, ctx: dict[str, Any], tries: int | None) -> TaskEnd | None:
        if isinstance(error, asyncio.CancelledError):
            # A time limit, an abort or the end of the worker: `after_job_end` knows.
            ctx[_JOB] = current_job(), tries
            return None
        end = end_of_task(error)
        if end.state != "retrying":
            return end
        if not self._settings.get("retry_jobs", True):
            return TaskEnd("failed", end.error or error)
        return self._retry(end, ctx, tries)

    def _retry(self, end: TaskEnd, ctx: dict[str, Any], tries: int | None) -> TaskEnd:
        """Return the end of a run that is repeated: arq drops a job with too many tries unseen."""
        most = self._settings.get("max_tries", MAX_TRIES) if tries is None else tries
        if ctx["job_try"] < most:
            return end
        reason = error_text(end.error) if isinstance(end.error, BaseException) else end.error
        return TaskEnd("failed", f"failed after {most} tries" + (f": {reason}" if reason else ""))

    def after_job_end(self, hook: Any) -> Callable[[dict[str, Any]], Coroutine[Any, Any, None]]:
        """Return the hook that reports a job that was cancelled from outside, then calls yours."""

        async def after_job_end(ctx: dict[str, Any]) -> None:
            if _JOB in ctx:
                job, tries = ctx.pop(_JOB)
                await self._report_cancelled(job, tries, ctx)
            if hook:
                await hook(ctx)

        return after_job_end

    async def _report_cancelled(
        self, job: BlockingJob, tries: int | None, ctx: dict[str, Any]
    ) -> None:
        try:
            end = await self._end_of_cancelled(tries, ctx)
        except Exception:  # an exception of a hook would end the worker
            _logger.exception("job not reported job=%s", job.id)
            return
        await job.report_async(end.state, error=end.error)

    async def _end_of_cancelled(self, tries: int | None, ctx: dict[str, Any]) -> TaskEnd:
        pool: ArqRedis = ctx["redis"]
        record = await Job(ctx["job_id"], pool, _deserializer=pool.job_deserializer).result_info()
        if record is None and await pool.exists(job_key_prefix + ctx["job_id"]):
            return self._retry(TaskEnd("retrying", "the worker stopped"), ctx, tries)
        if record is None:  # the settings keep no results
            return TaskEnd("failed", "aborted, or over its time limit")
        if isinstance(record.result, asyncio.CancelledError):
            return TaskEnd("cancelled", None)
        return TaskEnd("failed", "exceeded its time limit")


_trackers: list[_Tracker] = []


def _report_enqueued(enqueue: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method `enqueue_job` of a pool that reports the jobs of tracked functions."""

    @functools.wraps(enqueue)
    async def enqueue_job(pool: ArqRedis, function: str, *args: Any, **options: Any) -> Job | None:
        job: Job | None = await enqueue(pool, function, *args, **options)
        kwargs = {name: value for name, value in options.items() if name not in _OPTIONS}
        # After it: a job whose id exists is no new one. The log refuses a report after the start.
        for tracker in _trackers:
            if job is not None and function in tracker.functions:
                await tracker.enqueued(function, job.job_id, args, kwargs)
        return job

    return enqueue_job
