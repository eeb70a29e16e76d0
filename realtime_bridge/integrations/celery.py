"""Celery's tasks as jobs, by its signals: in clients, prefork children, threads, and the parent.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.celery import track_tasks

    track_tasks(BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user_id']}")

Put it where the application is made, so that clients and workers both have it.
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
    moment,
    said,
)
from realtime_bridge.publishing.blocking import BlockingBroadcaster

__all__ = ["Task", "current_job", "track_tasks"]


def track_tasks(
    broadcaster: BlockingBroadcaster, channel: Channel, *, title: Title | None = None
) -> None:
    """Tell of every task, from now on and in every process that calls this.

    Args:
        broadcaster: what publishes.
        channel: where to tell of a task; None for one that nobody watches.
        title: what people call it; by default its name.

    """
    watcher = _Watcher(TaskReporter(broadcaster, channel, title))
    for signal, receiver in (
        (signals.before_task_publish, watcher.sent),
        (signals.task_prerun, watcher.started),
        (signals.task_retry, watcher.retried),
        (signals.task_success, watcher.completed),
        (signals.task_failure, watcher.failed),
        (signals.task_revoked, watcher.revoked),
    ):
        signal.connect(receiver, weak=False)


class _Watcher:
    """Understands what each signal brings."""

    def __init__(self, jobs: TaskReporter) -> None:
        self._jobs = jobs
        self._later = threading.local()

    def sent(self, sender: str, body: Any, headers: dict[str, Any], **_: Any) -> None:
        """Take a call, or its repetition: before that can begin."""
        args, kwargs, *_rest = body
        task = Task(id=headers["id"], name=sender, args=tuple(args), kwargs=kwargs)
        if headers.get("retries"):
            self._sent_again(task, _retry_at(headers.get("eta")))
        else:
            self._jobs.queued(task)

    def _sent_again(self, task: Task, retry_at: int | None) -> None:
        """Tell at once of what may begin at once; else leave it to `retried`, which knows why."""
        self._later.retry_at = retry_at if retry_at and retry_at > moment(1) else None
        if self._later.retry_at is None:
            error = sys.exception()
            self._jobs.retrying(task, said(error) if error else None, retry_at)

    def retried(self, request: Any, reason: Any, **_: Any) -> None:
        """Tell of what is tried again later, and why."""
        if retry_at := getattr(self._later, "retry_at", None):
            error = said(reason.exc) if reason.exc else None
            self._jobs.retrying(_called(request), error, retry_at)

    def started(self, sender: Any, task_id: str, args: Any, kwargs: Any, **_: Any) -> None:
        self._jobs.started(Task(id=task_id, name=sender.name, args=tuple(args), kwargs=kwargs))

    def completed(self, sender: Any, **_: Any) -> None:
        self._jobs.completed(_called(sender.request))

    def failed(
        self, sender: Any, task_id: str, exception: Any, args: Any, kwargs: Any, **_: Any
    ) -> None:
        task = Task(id=task_id, name=sender.name, args=tuple(args or ()), kwargs=kwargs or {})
        self._jobs.failed(task, said(exception))

    def revoked(self, request: Any, **_: Any) -> None:
        self._jobs.cancelled(_called(request))


def _called(request: Any) -> Task:
    name = request.task if isinstance(request.task, str) else request.task.name
    return Task(
        id=request.id, name=name, args=tuple(request.args or ()), kwargs=request.kwargs or {}
    )


def _retry_at(eta: str | None) -> int | None:
    if eta is None:
        return None
    at: datetime = maybe_make_aware(datetime.fromisoformat(eta), current_app.timezone)
    return int(at.timestamp() * 1000)
