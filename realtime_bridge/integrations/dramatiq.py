"""Dramatiq's messages as jobs, by a middleware.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.dramatiq import track_tasks

    broadcaster = BlockingBroadcaster.from_env()
    track_tasks(broker, broadcaster, lambda task: f"user-{task.kwargs['user_id']}")

Call it after the broker has its other middleware: clients and workers both need it.
"""

import sys
from typing import Any

from realtime_bridge.errors import (
    ExtraNotInstalledError,
    JobCancelledError,
    JobSupersededError,
)
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
    from dramatiq import Broker, Middleware
    from dramatiq.errors import ActorNotFound
    from dramatiq.middleware import Retries, SkipMessage
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError(
        "Messages of Dramatiq", missing=_error.name or "dramatiq", extra="dramatiq"
    ) from _error

__all__ = ["DramatiqCancelled", "DramatiqSuperseded", "Task", "current_job", "track_tasks"]


class DramatiqCancelled(JobCancelledError, SkipMessage):  # noqa: N818 -- as Dramatiq names its own
    """Message that people cancelled: Dramatiq does not retry it."""


class DramatiqSuperseded(JobSupersededError, SkipMessage):  # noqa: N818
    """Message that another worker processes again: Dramatiq does not retry this run."""


def track_tasks(
    broker: Broker,
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    cancellable: Cancellable | None = None,
    result: bool = False,
) -> None:
    """Report every message from now on, in each process that calls this.

    Args:
        broker: broker of the actors.
        broadcaster: publisher.
        channel: returns the channel of a message; None for a message without watchers.
        title: returns the title of a message; the actor's name by default.
        cancellable: returns whether people may cancel a message: its actor gets DramatiqCancelled
            at its next `progress`, `track` or `check`.
        result: people see what an actor returns, up to 32 KiB of JSON.

    """
    reporter = TaskReporter(
        broadcaster,
        channel,
        title,
        cancellable=cancellable,
        result=result,
        errors=(DramatiqCancelled, DramatiqSuperseded),
    )
    has_retries = any(isinstance(other, Retries) for other in broker.middleware)
    # Dramatiq calls the first one last: it has to know whether the message is retried.
    position: Any = {"before": Retries} if has_retries else {}
    broker.add_middleware(_Reports(reporter, has_retries=has_retries), **position)


class _Reports(Middleware):
    """Reports of the messages of one broker."""

    def __init__(self, jobs: TaskReporter, *, has_retries: bool) -> None:
        self._jobs = jobs
        self._has_retries = has_retries

    def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        """Report a new message, or a retry; a delayed one comes here again when it is due."""
        task = _task_of(broker, message)
        if not message.options.get("retries"):
            self._jobs.queued(task)
        elif delay is not None:
            error = sys.exception()
            reason = None if error is None else error_text(error)
            self._jobs.retrying(task, reason, unix_ms_after(delay / 1_000))

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Report the start.

        Raises:
            DramatiqCancelled: people cancelled the message before.

        """
        self._jobs.started(_task_of(broker, message))
        current_job().check()

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Report the end, unless the message is retried: `before_enqueue` has reported that."""
        task = _task_of(broker, message)
        if exception is None:
            self._jobs.completed(task, result)
        elif message.failed or not self._has_retries:
            self._jobs.failed(task, error_text(exception))

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """Report a message that people cancelled, or that another middleware skips."""
        self._jobs.cancelled(_task_of(broker, message))

    def after_worker_shutdown(self, broker: Broker, worker: Any) -> None:  # noqa: ARG002 -- Dramatiq's arguments
        """Finish the reports: a worker's process ends without its exit handlers."""
        self._jobs.close()


def _task_of(broker: Broker, message: Any) -> Task:
    try:
        function: object = broker.get_actor(message.actor_name).fn
    except ActorNotFound:  # a client may send to actors that it does not know
        function = None
    named = arguments_by_name(function, message.args, message.kwargs)
    return Task(
        id=message.message_id, name=message.actor_name, args=tuple(message.args), kwargs=named
    )
