"""Celery's tasks as jobs, by Celery's signals.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.celery import track_tasks

    track_tasks(BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user_id']}")

Call it where the application is made: clients and workers both need it. With
`Celery("shop", task_cls=JobTask)`, a task that people cancelled before its start does not start.
"""

import sys
import threading
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from realtime_bridge.backend.repeating_thread import repeat_in_thread
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
from realtime_bridge.jobs.values import error_text, to_text
from realtime_bridge.model.ids import nonce
from realtime_bridge.publishing.blocking import BlockingBroadcaster

try:
    from billiard.process import current_process
    from celery import current_app, signals, states
    from celery.app.task import Task as CeleryTask
    from celery.exceptions import Ignore, Reject
    from celery.utils.time import maybe_make_aware
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError(
        "Tasks of Celery", missing=_error.name or "celery", extra="celery"
    ) from _error

__all__ = [
    "CeleryCancelled",
    "CelerySuperseded",
    "JobTask",
    "Task",
    "current_job",
    "revoke_on_cancel",
    "track_tasks",
]

_PARENT = "realtime_bridge_parent"
"""Header of a call: the job that shows the caller. A worker cannot know whether there is one."""

_DELIVERY = "realtime_bridge_delivery"
"""Header of a request in a worker: the name of the run, in its process and in its parent."""


if TYPE_CHECKING:  # Celery has no types, and a base without one leaves the class without too
    _Ignore = Exception

    class _TaskBase:
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None: ...

else:
    _Ignore, _TaskBase = Ignore, CeleryTask


class CeleryCancelled(JobCancelledError, _Ignore):  # noqa: N818 -- as Celery names its own
    """Task that people cancelled: Celery neither takes it as failed nor retries it."""


class CelerySuperseded(JobSupersededError, _Ignore):  # noqa: N818
    """Task that another worker runs again: its result is that of the other run."""


class JobTask(_TaskBase):
    """Base class of tasks: one that people cancelled in the queue does not start."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Raise CeleryCancelled in a cancelled task."""
        # Not in a handler of `task_prerun`: Celery logs and ignores its exceptions.
        current_job().check()
        super().before_start(task_id, args, kwargs)


def track_tasks(
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    cancellable: Cancellable | None = None,
    result: bool = False,
    nested: bool = False,
) -> None:
    """Report every task from now on, in each process that calls this.

    Args:
        broadcaster: publisher.
        channel: returns the channel of a task; None for a task without watchers.
        title: returns the title of a task; the last part of its name by default.
        cancellable: returns whether people may cancel a task: it gets CeleryCancelled at its next
            `progress`, `track` or `check`.
        result: people see what a task returns, up to 32 KiB of JSON.
        nested: a task that another one on the same channel calls is a part of it.

    """
    reporter = TaskReporter(
        broadcaster,
        channel,
        title,
        cancellable=cancellable,
        result=result,
        errors=(CeleryCancelled, CelerySuperseded),
    )
    receiver = _SignalReceiver(reporter, is_nested=nested)
    for signal, handler in (
        (signals.before_task_publish, receiver.sent),
        (signals.task_received, receiver.received),
        (signals.task_prerun, receiver.started),
        (signals.task_retry, receiver.retried),
        (signals.task_success, receiver.completed),
        (signals.task_failure, receiver.failed),
        (signals.task_revoked, receiver.revoked),
        (signals.task_postrun, receiver.finished),
        (signals.worker_before_create_process, receiver.create_handover),
        (signals.worker_process_shutdown, receiver.shut_down),
    ):
        # Celery keeps weak references by default, and these methods have no other owner.
        signal.connect(handler, weak=False)


def revoke_on_cancel(bridge: CancelHooks, app: Any, *, kill_after: float | None = None) -> None:
    """Revoke a task that people cancel, so that no worker starts it.

    Args:
        bridge: bridge whose pages cancel.
        app: `Celery` of the tasks, whose package has no types; a job's id is its task's.
        kill_after: seconds after which the process of a task that still runs is killed; None
            leaves the end to the task.

    """
    bridge.on_cancel(
        call_in_thread(
            lambda _, job: app.control.revoke(job),
            then=lambda _, job: app.control.revoke(job, terminate=True),
            after=kill_after,
        )
    )


class _SignalReceiver:
    """Receiver of Celery's signals."""

    def __init__(self, jobs: TaskReporter, *, is_nested: bool) -> None:
        self._jobs = jobs
        self._is_nested = is_nested
        self._requests: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._delayed = threading.local()
        self._handover: Handover | None = None

    def sent(self, sender: str, body: Any, headers: dict[str, Any], **_: Any) -> None:
        """Report a call or a retry, before a worker can start it."""
        args, kwargs, *_rest = body
        task = _task(headers["id"], sender, args, kwargs)
        parent = headers.get("parent_id")
        if self._is_nested and parent and self._jobs.shows(parent, task):
            headers[_PARENT] = parent
        task = replace(task, parent=headers.get(_PARENT))
        if headers.get("retries"):
            self._report_retry(task, _retry_at(headers.get("eta")))
        else:
            self._jobs.queued(task)

    def _report_retry(self, task: Task, retry_at: int | None) -> None:
        """Report an immediate retry; `retried` reports a later one, with its reason."""
        self._delayed.retry_at = retry_at if retry_at and retry_at > unix_ms_after(1) else None
        if self._delayed.retry_at is None:
            self._jobs.retrying(task, _text(_retry_error()), retry_at)

    def retried(self, request: Any, reason: Any = None, **_: Any) -> None:
        """Report a delayed retry and its reason; without a reason, the worker lost its broker."""
        retry_at = getattr(self._delayed, "retry_at", None)
        if retry_at or reason is None:
            error = "the worker lost its connection" if reason is None else _text(reason.exc)
            self._jobs.retrying(_task_of(request), error, retry_at)

    def received(self, request: Any, **_: Any) -> None:
        """Name the delivery, and keep the request for `failed`, which gets the id alone."""
        # In the headers, which the process of the task gets too. No fact of the message differs
        # between two redeliveries to one worker: Redis keeps the tag.
        request.request_dict[_DELIVERY] = nonce()
        self._requests[request.id] = request

    def started(self, sender: Any, **_: Any) -> None:
        self._jobs.started(_task_of(sender.request))

    def completed(self, sender: Any, result: Any = None, **_: Any) -> None:
        self._jobs.completed(_task_of(sender.request), result)

    def failed(
        self, sender: Any, task_id: str, exception: Any, args: Any, kwargs: Any, **_: Any
    ) -> None:
        # `finished` has reported it, with the reason: this is the parent's signal for it.
        if isinstance(exception, Reject):
            return
        request = self._requests.get(task_id)
        task = _task_of(request) if request else _task(task_id, sender.name, args, kwargs)
        self._jobs.failed(task, error_text(exception))

    def revoked(
        self,
        request: Any,
        expired: bool = False,  # noqa: FBT001, FBT002 -- Celery's arguments
        terminated: bool = False,  # noqa: FBT001, FBT002
        **_: Any,
    ) -> None:
        task = _task_of(request)
        if not terminated:
            # It never ran. So it ends the job of a former run too, as in a retry that waits.
            task = replace(task, attempt=None)
        if expired:
            self._jobs.failed(task, "expired before the start")
        else:
            self._jobs.cancelled(task)

    def finished(self, sender: Any, state: str | None, retval: Any, **_: Any) -> None:
        """Report the ends without a signal of their own: Ignore, Reject, SystemExit."""
        task = _task_of(sender.request)
        if state == states.IGNORED:
            self._jobs.cancelled(task, _reason(retval))
        elif state == states.REJECTED and retval.requeue:
            self._jobs.retrying(task, _reason(retval))
        elif state == states.REJECTED:
            self._jobs.failed(task, _reason(retval) or "rejected")
        elif state is None and current_process().name == "MainProcess":
            # In a pool of processes, the parent reports the process that ends.
            self._jobs.failed(task, _text(sys.exception()) or "the worker ended")

    def create_handover(self, **_: Any) -> None:
        """Prepare the parent of a pool for the ends that its processes cannot publish."""
        if self._handover is None:
            self._jobs.load()
            handover = self._handover = Handover()
            repeat_in_thread(
                "realtime-bridge-ends", lambda: self._jobs.take_over(handover.receive())
            )

    def shut_down(self, **_: Any) -> None:
        """Finish the reports of a process of the pool, which ends without its exit handlers."""
        self._jobs.close(self._handover)


def _task_of(request: Any) -> Task:
    name = request.task if isinstance(request.task, str) else request.task.name
    # A worker's request has all headers in one place, that of a running task has them itself.
    headers = getattr(request, "request_dict", None) or vars(request)
    task = _task(request.id, name, request.args, request.kwargs)
    return replace(task, attempt=headers.get(_DELIVERY), parent=headers.get(_PARENT))


def _task(task_id: str, name: str, args: Any, kwargs: Any) -> Task:
    # A client may call a task of another application by its name: its function is not known.
    function = getattr(current_app.tasks.get(name), "run", None)
    named = arguments_by_name(function, args or (), kwargs or {})
    return Task(id=task_id, name=name, args=tuple(args or ()), kwargs=named)


def _text(error: BaseException | None) -> str | None:
    return None if error is None else error_text(error)


def _reason(error: Any) -> str | None:
    """Return the reason of an Ignore or Reject; it may be an exception."""
    reason = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    return error_text(reason) if isinstance(reason, BaseException) else to_text(reason)


def _retry_error() -> BaseException | None:
    """Return the `exc` of the `Task.retry` that sends this message, or the error in treatment."""
    frame = sys._getframe()
    while frame.f_back and frame.f_code is not CeleryTask.retry.__code__:
        frame = frame.f_back
    error = frame.f_locals.get("exc") if frame.f_code is CeleryTask.retry.__code__ else None
    return error if isinstance(error, BaseException) else sys.exception()


def _retry_at(eta: str | None) -> int | None:
    if eta is None:
        return None
    at: datetime = maybe_make_aware(datetime.fromisoformat(eta), current_app.timezone)
    return int(at.timestamp() * 1000)
