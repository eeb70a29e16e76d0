"""RQ's jobs as jobs of ours, by classes that RQ is made to be extended with.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.rq import track_tasks

    Queue, Worker = track_tasks(
        BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user_id']}"
    )

Enqueue with that `Queue`, and run `rq worker --worker-class shop.queues.Worker`, where
`shop.queues` is the module that has it.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Concatenate, ParamSpec

import rq
from rq.exceptions import AbandonedJobError, DeserializationError
from rq.job import Job, Retry
from rq.worker import BaseWorker

from realtime_bridge.integrations.tasks import (
    Channel,
    Task,
    TaskReporter,
    Title,
    current_job,
    moment,
    said,
)
from realtime_bridge.publishing.blocking import BlockingBroadcaster

__all__ = ["Task", "current_job", "track_tasks"]

P = ParamSpec("P")

_logger = logging.getLogger("realtime_bridge.integrations")


def track_tasks(
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    worker: type[BaseWorker] = rq.Worker,
) -> tuple[type[rq.Queue], type[BaseWorker]]:
    """Return a queue's class and a worker's, which tell of every job that passes through them.

    Args:
        broadcaster: what publishes.
        channel: where to tell of a task; None for one that nobody watches.
        title: what people call it; by default its name.
        worker: the class of worker to extend: `rq.Worker`, `rq.SimpleWorker` or your own.

    """
    jobs = {"_jobs": TaskReporter(broadcaster, channel, title)}
    job_class = type("Job", (_Job,), jobs)
    queue_class = type("Queue", (_Queue,), {**jobs, "job_class": job_class})
    return queue_class, type("Worker", (_Worker, worker), jobs)


class _Job(Job):
    """A job that tells when it is taken back."""

    _jobs: ClassVar[TaskReporter]

    def cancel(self, *args: Any, **options: Any) -> Any:
        # RQ lets one that runs go on to its end, which is told then.
        runs = self.is_started
        result = super().cancel(*args, **options)
        if not runs:
            _tell(self._jobs.cancelled, self)
        return result


class _Queue(rq.Queue):
    """A queue that tells of a job before a worker can have it."""

    _jobs: ClassVar[TaskReporter]

    def create_job(self, *args: Any, **options: Any) -> Job:
        # One that is there already may be refused, and was told of.
        job_id = options.get("job_id")
        known = job_id and self.job_class.exists(job_id, connection=self.connection)
        job = super().create_job(*args, **options)
        if not known:
            _tell(self._jobs.queued, job)
        return job


class _Worker(BaseWorker):
    """A worker that tells, from the work horse or its parent, what becomes of a job."""

    _jobs: ClassVar[TaskReporter]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._exc_handlers.append(self._take)

    def prepare_job_execution(self, job: Job, *args: Any, **options: Any) -> None:
        """Tell that it runs when RQ can stop it; it happens in the process that runs it."""
        super().prepare_job_execution(job, *args, **options)
        _tell(self._jobs.started, job)

    def handle_job_success(self, job: Job, *args: Any, **options: Any) -> None:
        super().handle_job_success(job, *args, **options)
        _tell(self._jobs.completed, job)

    def handle_job_retry(
        self, job: Job, queue: rq.Queue, retry: Retry, *args: Any, **options: Any
    ) -> None:
        """Take a job that asks by its result to be tried again."""
        tried = job.number_of_retries or 0
        again = tried < retry.max
        if again:
            self._tell_retry(job, None, Retry.get_interval(tried, retry.intervals))
        super().handle_job_retry(job, queue, retry, *args, **options)
        if not again:
            _tell(self._jobs.failed, job, f"not done after {retry.max} retries")

    def handle_job_failure(self, job: Job, *args: Any, **options: Any) -> None:
        """Take a job that raised, here, or whose horse was killed or stopped."""
        error = sys.exception()
        why = said(error) if error else options["exc_string"].rstrip("; ")
        stopped = self._stopped_job_id == job.id
        again = bool(job.retries_left) and not stopped
        if again:
            self._tell_retry(job, why, job.get_retry_interval())
        super().handle_job_failure(job, *args, **options)
        if stopped:
            _tell(self._jobs.cancelled, job)
        elif not again:
            _tell(self._jobs.failed, job, why)

    @classmethod
    def _take(cls, job: Job, kind: type[BaseException], *_: Any) -> None:
        """Take, among all errors, that a worker is gone: maintenance finds its jobs."""
        if not issubclass(kind, AbandonedJobError):
            return
        if job.retries_left:
            cls._tell_retry(job, "its worker is gone", job.get_retry_interval())
        else:
            _tell(cls._jobs.failed, job, "its worker is gone")

    @classmethod
    def _tell_retry(cls, job: Job, why: str | None, seconds: float) -> None:
        """Tell it before the job is in the queue again, where another worker may begin it."""
        _tell(cls._jobs.retrying, job, why, moment(seconds) if seconds else None)


def _tell(
    tell: Callable[Concatenate[Task, P], None], job: Job, *args: P.args, **options: P.kwargs
) -> None:
    try:
        task = Task(
            id=job.id, name=job.func_name or "", args=tuple(job.args), kwargs=dict(job.kwargs)
        )
    except DeserializationError as error:
        _logger.warning("job %s is not told of, as it cannot be read: %s", job.id, error)
        return
    tell(task, *args, **options)
