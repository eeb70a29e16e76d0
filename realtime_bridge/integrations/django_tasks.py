"""Tasks of Django as jobs, by Django's signals.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.django_tasks import track_tasks

    track_tasks(BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user_id']}")

Call it in the `ready` of an application: the site and its workers both need it. Django before 6.0
needs the package `django-tasks`, which has the same signals.
"""

import sys
from typing import Any

from realtime_bridge.errors import ExtraNotInstalledError, JobCancelledError
from realtime_bridge.integrations.tasks import (
    Cancellable,
    Channel,
    Task,
    TaskReporter,
    Title,
    arguments_by_name,
    current_job,
)
from realtime_bridge.jobs.values import error_text
from realtime_bridge.publishing.blocking import BlockingBroadcaster

try:
    from django.db import transaction

    try:
        from django.tasks import signals
    except ModuleNotFoundError:
        from django_tasks import signals
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError(
        "Tasks of Django", missing=_error.name or "django_tasks", extra="django-tasks"
    ) from _error

__all__ = ["Task", "current_job", "track_tasks"]


def track_tasks(
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    cancellable: Cancellable | None = None,
    result: bool = False,
) -> None:
    """Report every task from now on, in each process that calls this.

    Args:
        broadcaster: publisher.
        channel: returns the channel of a task; None for a task without watchers.
        title: returns the title of a task; the last part of its name by default.
        cancellable: returns whether people may cancel a task: it gets JobCancelledError at its
            next `progress`, `track` or `check`.
        result: people see what a task returns, up to 32 KiB of JSON.

    """
    jobs = TaskReporter(broadcaster, channel, title, cancellable=cancellable, result=result)

    def enqueued(task_result: Any, **_: Any) -> None:
        task = _task_of(task_result)
        # A task that is rolled back with its transaction never waits.
        transaction.on_commit(lambda: jobs.queued(task))

    def started(task_result: Any, **_: Any) -> None:
        jobs.started(_task_of(task_result))
        # Its exception ends the task before its function is called.
        current_job().check()

    def finished(task_result: Any, **_: Any) -> None:
        task = _task_of(task_result)
        if task_result.status != "FAILED":
            jobs.completed(task, task_result.return_value)
            return
        # The signal is sent while the exception is handled; its record has a traceback alone.
        error = sys.exception()
        if isinstance(error, JobCancelledError):
            jobs.cancelled(task)
        else:
            jobs.failed(task, error_text(error) if error else _recorded_error(task_result))

    for signal, handler in (
        (signals.task_enqueued, enqueued),
        (signals.task_started, started),
        (signals.task_finished, finished),
    ):
        # Django keeps weak references by default, and these functions have no other owner.
        signal.connect(handler, weak=False)


def _recorded_error(task_result: Any) -> str:
    errors = task_result.errors
    lines = errors[-1].traceback.strip().splitlines() if errors else []
    return lines[-1] if lines else "failed"


def _task_of(task_result: Any) -> Task:
    task, args, kwargs = task_result.task, task_result.args, task_result.kwargs
    context = (None,) if task.takes_context else ()
    named = arguments_by_name(task.func, (*context, *args), kwargs)
    if context and named is not kwargs:
        named = dict([*named.items()][1:])
    return Task(id=str(task_result.id), name=task.module_path, args=tuple(args), kwargs=named)
