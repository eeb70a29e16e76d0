"""Huey's tasks as jobs, by its signals: in clients, worker threads and worker processes.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.huey import track_tasks

    track_tasks(huey, BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user_id']}")

Put it where the tasks are, so that clients and consumers both have it.
"""

import sys
import traceback
import weakref
from typing import Any

from huey import CancelExecution, Huey, RetryTask, signals

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
    huey: Huey,
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
) -> None:
    """Tell of every task, from now on and in every process that calls this.

    Args:
        huey: whose tasks they are.
        broadcaster: what publishes.
        channel: where to tell of a task; None for one that nobody watches.
        title: what people call it; by default its name.

    """
    watcher = _Watcher(huey, TaskReporter(broadcaster, channel, title))
    for signal, receiver in (
        (signals.SIGNAL_ENQUEUED, watcher.enqueued),
        (signals.SIGNAL_EXECUTING, watcher.executing),
        (signals.SIGNAL_REVOKED, watcher.revoked),
        (signals.SIGNAL_EXPIRED, watcher.expired),
        (signals.SIGNAL_CANCELED, watcher.canceled),
        (signals.SIGNAL_INTERRUPTED, watcher.interrupted),
    ):
        huey.signal(signal)(receiver)
    huey.post_execute(name=__name__)(watcher.executed)


class _Watcher:
    """Understands what each signal brings."""

    def __init__(self, huey: Huey, jobs: TaskReporter) -> None:
        self._huey = huey
        self._jobs = jobs
        self._begun: weakref.WeakSet[Any] = weakref.WeakSet()

    def enqueued(self, _: str, task: Any) -> None:
        """Take a call; not what the schedule gives back, nor what is tried again."""
        scheduled = task.eta is not None and self._huey.ready_to_run(task)
        if not scheduled and task not in self._begun:
            self._jobs.queued(_called(task))

    def executing(self, _: str, task: Any) -> None:
        self._begun.add(task)
        self._jobs.started(_called(task))

    def executed(self, task: Any, _: Any, error: BaseException | None) -> None:
        """Take what a task came to; of all hooks, only this one has the error of each kind."""
        if error is None:
            self._jobs.completed(_called(task))
        elif task.retries:
            self._jobs.retrying(_called(task), said(error), _retry_at(task, error))
        elif not isinstance(error, CancelExecution):
            self._jobs.failed(_called(task), said(error))

    def canceled(self, _: str, task: Any) -> None:
        """Take what cancels itself, or is by a hook before it ran; `executed` may retry it."""
        if not (task.retries and _ran(sys.exception())):
            self._jobs.cancelled(_called(task))

    def revoked(self, _: str, task: Any) -> None:
        self._jobs.cancelled(_called(task))

    def expired(self, _: str, task: Any) -> None:
        self._jobs.failed(_called(task), "expired before it began")

    def interrupted(self, _: str, task: Any) -> None:
        self._jobs.failed(_called(task), "interrupted: its worker was stopped")


def _called(task: Any) -> Task:
    return Task(id=task.id, name=task.name, args=tuple(task.args), kwargs=dict(task.kwargs))


def _ran(error: BaseException | None) -> bool:
    before = Huey._run_pre_execute.__code__
    frames = traceback.walk_tb(error.__traceback__) if error else ()
    return all(frame.f_code is not before for frame, _ in frames)


def _retry_at(task: Any, error: BaseException) -> int | None:
    eta, delay = (error.eta, error.delay) if isinstance(error, RetryTask) else (None, None)
    if eta:
        return int(eta.timestamp() * 1000)
    seconds = task.retry_delay if delay is None else delay
    return moment(seconds) if seconds else None
