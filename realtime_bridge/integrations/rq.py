"""RQ's jobs as jobs of ours, by subclasses of RQ's queue and worker.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.rq import track_tasks

    Queue, Worker = track_tasks(
        BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user_id']}"
    )

Enqueue with this `Queue`, and run `rq worker --worker-class shop.queues.Worker`, where
`shop.queues` is the module that defines it.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Concatenate, ParamSpec

from realtime_bridge.errors import (
    ExtraNotInstalledError,
    JobCancelledError,
    JobSupersededError,
)
from realtime_bridge.integrations.cancel_hooks import CancelHooks, call_in_thread
from realtime_bridge.integrations.handover import Handover
from realtime_bridge.integrations.tasks import (
    Cancellable,
    Channel,
    Task,
    TaskReporter,
    Title,
    arguments_by_name,
    current_job,
    unix_ms_after,
)
from realtime_bridge.jobs.values import error_text
from realtime_bridge.publishing.blocking import BlockingBroadcaster

try:
    import rq
    from rq.command import send_stop_job_command
    from rq.exceptions import AbandonedJobError, DeserializationError
    from rq.job import Job, Retry
    from rq.worker import BaseWorker
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError("Jobs of RQ", missing=_error.name or "rq", extra="rq") from _error

__all__ = ["Task", "current_job", "stop_on_cancel", "track_tasks"]

P = ParamSpec("P")

_logger = logging.getLogger("realtime_bridge.integrations")


def track_tasks(
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    cancellable: Cancellable | None = None,
    result: bool = False,
    worker: type[BaseWorker] = rq.Worker,
) -> tuple[type[rq.Queue], type[BaseWorker]]:
    """Return a queue class and a worker class that report every job.

    Args:
        broadcaster: publisher.
        channel: returns the channel of a task; None for a task without watchers.
        title: returns the title of a task; the last part of its name by default.
        cancellable: returns whether people may cancel a job: it gets JobCancelledError at its
            next `progress`, `track` or `check`.
        result: people see what a job returns, up to 32 KiB of JSON.
        worker: worker class to extend: `rq.Worker`, `rq.SimpleWorker` or your own.

    """
    reporter = TaskReporter(broadcaster, channel, title, cancellable=cancellable, result=result)
    jobs = {"_jobs": reporter}
    job_class = type("Job", (_Job,), jobs)
    queue_class = type("Queue", (_Queue,), {**jobs, "job_class": job_class})
    return queue_class, type("Worker", (_Worker, worker), jobs)


def stop_on_cancel(
    bridge: CancelHooks, queue: rq.Queue, *, kill_after: float | None = None
) -> None:
    """Cancel a job of RQ that people cancel, so that no worker starts it.

    Args:
        bridge: bridge whose pages cancel.
        queue: any queue of the class that `track_tasks` returned.
        kill_after: seconds after which the work horse of a job that still runs is killed; None
            leaves the end to the job.

    """

    def cancel(_: str, job_id: str) -> None:
        job = queue.job_class.fetch(job_id, connection=queue.connection)
        if not job.is_started:
            job.cancel()

    def stop(_: str, job_id: str) -> None:
        job = queue.job_class.fetch(job_id, connection=queue.connection)
        if job.is_started:
            send_stop_job_command(queue.connection, job_id)

    bridge.on_cancel(call_in_thread(cancel, then=stop, after=kill_after))


class _Job(Job):
    """Job that reports its cancellation."""

    _jobs: ClassVar[TaskReporter]

    def cancel(self, *args: Any, **options: Any) -> Any:
        # RQ does not stop a running job: its end is reported later.
        is_running = self.is_started
        result = super().cancel(*args, **options)
        if not is_running:
            _report(self._jobs.cancelled, self, None)
        return result


class _Queue(rq.Queue):
    """Queue that reports a job before a worker can take it."""

    _jobs: ClassVar[TaskReporter]

    def create_job(self, *args: Any, **options: Any) -> Job:
        # RQ may refuse an id that exists, and that job was reported before.
        job_id = options.get("job_id")
        exists = job_id and self.job_class.exists(job_id, connection=self.connection)
        job = super().create_job(*args, **options)
        if not exists:
            _report(self._jobs.queued, job, None)
        return job


class _Worker(BaseWorker):
    """Worker that reports the outcome of a job, from the work horse or its parent."""

    _jobs: ClassVar[TaskReporter]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._exc_handlers.append(self._report_abandoned)
        self._handover = Handover()
        self._jobs.load()  # here: RQ forks a process for each job

    def execute_job(self, job: Job, queue: rq.Queue) -> None:
        """Publish what the work horse could not, since the log was down until its end."""
        super().execute_job(job, queue)
        for body in self._handover.received():
            self._jobs.take_over(body)

    def perform_job(self, job: Job, *args: Any, **options: Any) -> bool:
        """Finish the reports in the work horse, which ends without its exit handlers."""
        try:
            return super().perform_job(job, *args, **options)
        finally:
            if self.is_horse:
                self._jobs.close(self._handover)

    def prepare_job_execution(self, job: Job, *args: Any, **options: Any) -> None:
        """Report the start once RQ can stop the job; runs in the process of the job.

        Raises:
            JobCancelledError: people cancelled the job before.

        """
        super().prepare_job_execution(job, *args, **options)
        _report(self._jobs.started, job, self.execution)
        current_job().check()

    def handle_job_success(self, job: Job, *args: Any, **options: Any) -> None:
        super().handle_job_success(job, *args, **options)
        _report(self._jobs.completed, job, None, job._result)

    def handle_job_retry(
        self, job: Job, queue: rq.Queue, retry: Retry, *args: Any, **options: Any
    ) -> None:
        """Report a job that requests its own retry by its result."""
        retries = job.number_of_retries or 0
        will_retry = retries < retry.max
        if will_retry:
            self._report_retry(job, None, Retry.get_interval(retries, retry.intervals))
        super().handle_job_retry(job, queue, retry, *args, **options)
        if not will_retry:
            _report(self._jobs.failed, job, None, f"failed after {retry.max} retries")

    def handle_job_failure(self, job: Job, *args: Any, **options: Any) -> None:
        """Report a job that raised, or whose work horse was killed or stopped."""
        error = sys.exception()
        if isinstance(error, JobCancelledError | JobSupersededError):
            job.retries_left = 0
        reason = error_text(error) if error else options["exc_string"].rstrip("; ")
        is_cancelled = self._stopped_job_id == job.id or isinstance(error, JobCancelledError)
        # RQ before 3.0 passes no execution, and has the present one until the end of this call.
        execution = options.get("execution") or self.execution
        will_retry = bool(job.retries_left) and not is_cancelled
        if will_retry:
            self._report_retry(job, reason, job.get_retry_interval(), execution)
        super().handle_job_failure(job, *args, **options)
        if is_cancelled:
            _report(self._jobs.cancelled, job, execution)
        elif not will_retry:
            _report(self._jobs.failed, job, execution, reason)

    @classmethod
    def _report_abandoned(cls, job: Job, kind: type[BaseException], *_: Any) -> None:
        """Report a job whose worker crashed: RQ's maintenance finds these jobs."""
        if not issubclass(kind, AbandonedJobError):
            return
        if job.retries_left:
            cls._report_retry(job, "the worker crashed", job.get_retry_interval())
        else:
            _report(cls._jobs.failed, job, None, "the worker crashed")

    @classmethod
    def _report_retry(
        cls, job: Job, reason: str | None, seconds: float, execution: Any = None
    ) -> None:
        """Report the retry before the job is queued again, where another worker may start it."""
        retry_at = unix_ms_after(seconds) if seconds else None
        _report(cls._jobs.retrying, job, execution, reason, retry_at)


def _function(job: Job) -> object:
    # Not `job.func`: it imports the module, which a client may enqueue by name and never load.
    module, _, name = (job.func_name or "").rpartition(".")
    return getattr(sys.modules.get(module), name, None)


def _report(
    report: Callable[Concatenate[Task, P], None],
    job: Job,
    execution: Any,
    *args: P.args,
    **options: P.kwargs,
) -> None:
    """Report a job of RQ.

    Args:
        report: method of the reporter.
        job: the job.
        execution: its run, which has one name in the worker and in the work horse; None for a
            report that is not of a certain run, or comes from its own process.
        args: further arguments of the report.
        options: the same, by name.

    """
    try:
        named = arguments_by_name(_function(job), job.args, dict(job.kwargs))
        task = Task(
            id=job.id,
            name=job.func_name or "",
            args=tuple(job.args),
            kwargs=named,
            attempt=execution.id if execution else None,
        )
    except DeserializationError as error:
        _logger.warning("job not reported job=%s reason=unreadable error=%s", job.id, error)
        return
    report(task, *args, **options)
