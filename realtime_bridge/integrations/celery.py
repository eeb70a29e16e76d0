"""Celery's tasks as jobs, by Celery's signals.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.celery import track_tasks

    track_tasks(BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user_id']}")

Call it where the application is made: clients and workers both need it.
"""

import sys
import threading
from datetime import datetime
from typing import Any

from celery import current_app, signals
from celery.utils.time import maybe_make_aware

from realtime_bridge.integrations.tasks import (
    Channel,
    Task,
    TaskReporter,
    Title,
    current_job,
    error_text,
    unix_ms_after,
)
from realtime_bridge.publishing.blocking import BlockingBroadcaster

__all__ = ["Task", "current_job", "track_tasks"]


def track_tasks(
    broadcaster: BlockingBroadcaster, channel: Channel, *, title: Title | None = None
) -> None:
    """Report every task from now on, in each process that calls this.

    Args:
        broadcaster: publisher.
        channel: returns the channel of a task; None for a task without watchers.
        title: returns the title of a task; the last part of its name by default.

    """
    receiver = _SignalReceiver(TaskReporter(broadcaster, channel, title))
    for signal, handler in (
        (signals.before_task_publish, receiver.sent),
        (signals.task_prerun, receiver.started),
        (signals.task_retry, receiver.retried),
        (signals.task_success, receiver.completed),
        (signals.task_failure, receiver.failed),
        (signals.task_revoked, receiver.revoked),
    ):
        # Celery keeps weak references by default, and these methods have no other owner.
        signal.connect(handler, weak=False)


class _SignalReceiver:
    """Receiver of Celery's signals."""

    def __init__(self, jobs: TaskReporter) -> None:
        self._jobs = jobs
        self._delayed = threading.local()

    def sent(self, sender: str, body: Any, headers: dict[str, Any], **_: Any) -> None:
        """Report a call or a retry, before a worker can start it."""
        args, kwargs, *_rest = body
        task = Task(id=headers["id"], name=sender, args=tuple(args), kwargs=kwargs)
        if headers.get("retries"):
            self._report_retry(task, _retry_at(headers.get("eta")))
        else:
            self._jobs.queued(task)

    def _report_retry(self, task: Task, retry_at: int | None) -> None:
        """Report an immediate retry; `retried` reports a later one, with its reason."""
        self._delayed.retry_at = retry_at if retry_at and retry_at > unix_ms_after(1) else None
        if self._delayed.retry_at is None:
            error = sys.exception()
            self._jobs.retrying(task, error_text(error) if error else None, retry_at)

    def retried(self, request: Any, reason: Any, **_: Any) -> None:
        """Report a delayed retry and its reason."""
        if retry_at := getattr(self._delayed, "retry_at", None):
            error = error_text(reason.exc) if reason.exc else None
            self._jobs.retrying(_task_of(request), error, retry_at)

    def started(self, sender: Any, task_id: str, args: Any, kwargs: Any, **_: Any) -> None:
        self._jobs.started(Task(id=task_id, name=sender.name, args=tuple(args), kwargs=kwargs))

    def completed(self, sender: Any, **_: Any) -> None:
        self._jobs.completed(_task_of(sender.request))

    def failed(
        self, sender: Any, task_id: str, exception: Any, args: Any, kwargs: Any, **_: Any
    ) -> None:
        task = Task(id=task_id, name=sender.name, args=tuple(args or ()), kwargs=kwargs or {})
        self._jobs.failed(task, error_text(exception))

    def revoked(self, request: Any, **_: Any) -> None:
        self._jobs.cancelled(_task_of(request))


def _task_of(request: Any) -> Task:
    name = request.task if isinstance(request.task, str) else request.task.name
    return Task(
        id=request.id, name=name, args=tuple(request.args or ()), kwargs=request.kwargs or {}
    )


def _retry_at(eta: str | None) -> int | None:
    if eta is None:
        return None
    at: datetime = maybe_make_aware(datetime.fromisoformat(eta), current_app.timezone)
    return int(at.timestamp() * 1000)
