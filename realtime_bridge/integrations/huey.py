"""Huey's tasks as jobs, by Huey's signals.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.huey import track_tasks

    track_tasks(huey, BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user_id']}")

Call it in the module of the tasks: clients and consumers both need it.
"""

import sys
import traceback
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from realtime_bridge.errors import (
    ExtraNotInstalledError,
    JobCancelledError,
    JobSupersededError,
)
from realtime_bridge.integrations.cancel_hooks import CancelHooks, call_in_thread
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
    from huey import CancelExecution, Huey, RetryTask, signals
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError(
        "Tasks of Huey", missing=_error.name or "huey", extra="huey"
    ) from _error

__all__ = [
    "HueyCancelled",
    "HueySuperseded",
    "Task",
    "current_job",
    "revoke_on_cancel",
    "track_tasks",
]


if TYPE_CHECKING:  # Huey has no types, and a base without one leaves the class without too
    _CancelExecution = Exception
else:
    _CancelExecution = CancelExecution


class HueyCancelled(JobCancelledError, _CancelExecution):  # noqa: N818
    """Task that people cancelled: Huey does not retry it."""

    def __init__(self, message: str) -> None:
        CancelExecution.__init__(self, message, retry=False)


class HueySuperseded(JobSupersededError, _CancelExecution):  # noqa: N818
    """Task that another worker runs again: Huey does not retry this run."""

    def __init__(self, message: str) -> None:
        CancelExecution.__init__(self, message, retry=False)


def track_tasks(
    huey: Any,
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    cancellable: Cancellable | None = None,
    result: bool = False,
) -> None:
    """Report every task from now on, in each process that calls this.

    Args:
        huey: the `Huey` of the tasks; its package has no types, so it is `Any` here.
        broadcaster: publisher.
        channel: returns the channel of a task; None for a task without watchers.
        title: returns the title of a task; the last part of its name by default.
        cancellable: returns whether people may cancel a task: it gets HueyCancelled at its next
            `progress`, `track` or `check`.
        result: people see what a task returns, up to 32 KiB of JSON.

    """
    reporter = TaskReporter(
        broadcaster,
        channel,
        title,
        cancellable=cancellable,
        result=result,
        errors=(HueyCancelled, HueySuperseded),
    )
    receiver = _SignalReceiver(huey, reporter)
    for signal, handler in (
        (signals.SIGNAL_ENQUEUED, receiver.enqueued),
        (signals.SIGNAL_EXECUTING, receiver.executing),
        (signals.SIGNAL_REVOKED, receiver.revoked),
        (signals.SIGNAL_EXPIRED, receiver.expired),
        (signals.SIGNAL_CANCELED, receiver.canceled),
        (signals.SIGNAL_INTERRUPTED, receiver.interrupted),
    ):
        huey.signal(signal)(handler)
    huey.pre_execute(name=__name__)(receiver.check)
    huey.post_execute(name=__name__)(receiver.executed)
    # A worker process ends without its exit handlers.
    huey.on_shutdown(name=__name__)(receiver.shut_down)


def revoke_on_cancel(bridge: CancelHooks, huey: Any) -> None:
    """Revoke a task that people cancel, so that no worker starts it.

    Args:
        bridge: bridge whose pages cancel.
        huey: the `Huey` of the tasks; a job's id is its task's.

    """
    bridge.on_cancel(call_in_thread(lambda _, job: huey.revoke_by_id(job)))


class _SignalReceiver:
    """Receiver of Huey's signals."""

    def __init__(self, huey: Huey, jobs: TaskReporter) -> None:
        self._huey = huey
        self._jobs = jobs
        self._started: weakref.WeakSet[Any] = weakref.WeakSet()

    def enqueued(self, _: str, task: Any) -> None:
        """Report a new call; Huey also sends this signal for scheduled tasks and retries."""
        scheduled = task.eta is not None and self._huey.ready_to_run(task)
        if not scheduled and task not in self._started:
            self._jobs.queued(_task_of(task))

    def executing(self, _: str, task: Any) -> None:
        self._started.add(task)
        # Huey runs no hook after SystemExit, which ends its worker.
        if "execute" not in vars(task):
            task.execute = partial(self._execute, task, task.execute)
        self._jobs.started(_task_of(task))

    def check(self, _: Any) -> None:
        """Raise HueyCancelled in a task that people cancelled before its start."""
        current_job().check()

    def _execute(self, task: Any, execute: Callable[[], Any]) -> Any:
        try:
            return execute()
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._jobs.failed(_task_of(task), error_text(error))
            raise

    def shut_down(self) -> None:
        """Finish the reports of a worker that ends."""
        self._jobs.close()

    def executed(self, task: Any, value: Any, error: BaseException | None) -> None:
        """Report the outcome; only this hook of Huey's receives errors of every kind."""
        if error is None:
            self._jobs.completed(_task_of(task), value)
        elif task.retries:
            self._jobs.retrying(_task_of(task), error_text(error), _retry_at(task, error))
        elif not isinstance(error, CancelExecution):
            self._jobs.failed(_task_of(task), error_text(error))

    def canceled(self, _: str, task: Any) -> None:
        """Report a task that cancelled itself, unless Huey retries it: `executed` reports that."""
        if not (task.retries and _was_started(sys.exception())):
            self._jobs.cancelled(_task_of(task))

    def revoked(self, _: str, task: Any) -> None:
        self._jobs.cancelled(_task_of(task))

    def expired(self, _: str, task: Any) -> None:
        self._jobs.failed(_task_of(task), "expired before the start")

    def interrupted(self, _: str, task: Any) -> None:
        self._jobs.failed(_task_of(task), "interrupted: the worker stopped")


def _task_of(task: Any) -> Task:
    kind = type(task)
    # Huey's decorator leaves a wrapper of the function under the name of the task's class.
    wrapper = getattr(sys.modules.get(kind.__module__), kind.__name__, None)
    named = arguments_by_name(getattr(wrapper, "func", None), task.args, dict(task.kwargs))
    return Task(id=task.id, name=task.name, args=tuple(task.args), kwargs=named)


def _was_started(error: BaseException | None) -> bool:
    # Huey raises the same exception from its pre-execute hooks, before the task's own code.
    hook = Huey._run_pre_execute.__code__
    frames = traceback.walk_tb(error.__traceback__) if error else ()
    return all(frame.f_code is not hook for frame, _ in frames)


def _retry_at(task: Any, error: BaseException) -> int | None:
    eta, delay = (error.eta, error.delay) if isinstance(error, RetryTask) else (None, None)
    if eta:
        return int(eta.timestamp() * 1000)
    seconds = task.retry_delay if delay is None else delay
    return unix_ms_after(seconds) if seconds else None
