"""Celery's tasks as jobs, by its signals: in clients, prefork children, threads, and the parent.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.celery import watch

    watch(BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user_id']}")

Put it where the application is made, so that clients and workers both have it.
"""

from typing import Any

from celery import signals

from realtime_bridge.blocking import BlockingBroadcaster
from realtime_bridge.integrations.tasks import Channel, Task, TaskJobs, current_job

__all__ = ["Task", "current_job", "watch"]


def watch(broadcaster: BlockingBroadcaster, channel: Channel) -> None:
    """Tell of every task, from now on and in every process that calls this.

    Args:
        broadcaster: what publishes.
        channel: where to tell of a task; None for one that nobody watches.

    """
    watcher = _Watcher(TaskJobs(broadcaster, channel))
    for signal, receiver in (
        (signals.before_task_publish, watcher.sent),
        (signals.task_prerun, watcher.started),
        (signals.task_success, watcher.completed),
        (signals.task_failure, watcher.failed),
        (signals.task_revoked, watcher.revoked),
    ):
        signal.connect(receiver, weak=False)


class _Watcher:
    """Understands what each signal brings."""

    def __init__(self, jobs: TaskJobs) -> None:
        self._jobs = jobs

    def sent(self, sender: str, body: Any, headers: dict[str, Any], **_: Any) -> None:
        """Take a call, or its repetition: before that can begin, and not by `task_retry` after."""
        args, kwargs, *_rest = body
        task = Task(id=headers["id"], name=sender, args=tuple(args), kwargs=kwargs)
        if headers.get("retries"):
            self._jobs.retrying(task)
        else:
            self._jobs.queued(task)

    def started(self, sender: Any, task_id: str, args: Any, kwargs: Any, **_: Any) -> None:
        self._jobs.started(Task(id=task_id, name=sender.name, args=tuple(args), kwargs=kwargs))

    def completed(self, sender: Any, **_: Any) -> None:
        self._jobs.completed(_called(sender.request))

    def failed(
        self, sender: Any, task_id: str, exception: Any, args: Any, kwargs: Any, **_: Any
    ) -> None:
        task = Task(id=task_id, name=sender.name, args=tuple(args or ()), kwargs=kwargs or {})
        self._jobs.failed(task, str(exception) or type(exception).__name__)

    def revoked(self, request: Any, **_: Any) -> None:
        self._jobs.cancelled(_called(request))


def _called(request: Any) -> Task:
    name = request.task if isinstance(request.task, str) else request.task.name
    return Task(
        id=request.id, name=name, args=tuple(request.args or ()), kwargs=request.kwargs or {}
    )
