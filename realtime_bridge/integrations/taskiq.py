"""taskiq's tasks as jobs, by a middleware.

    from realtime_bridge import BlockingBroadcaster
    from realtime_bridge.integrations.taskiq import track_tasks

    broadcaster = BlockingBroadcaster.from_env()
    track_tasks(broker, broadcaster, lambda task: f"user-{task.kwargs['user_id']}")

Call it after the broker has its other middleware: clients and workers both need it.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
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
    from taskiq import AsyncBroker, TaskiqMessage, TaskiqMiddleware, TaskiqResult
    from taskiq.exceptions import NoResultError
except ModuleNotFoundError as _error:
    raise ExtraNotInstalledError(
        "Tasks of taskiq", missing=_error.name or "taskiq", extra="taskiq"
    ) from _error

__all__ = ["Task", "TaskiqCancelled", "TaskiqSuperseded", "current_job", "track_tasks"]

_RETRIES, _REQUEUES = "_retries", "X-Taskiq-requeue"
"""Labels in which taskiq counts the retries of a message, and those that its task requests."""


class TaskiqCancelled(JobCancelledError, NoResultError):  # noqa: N818 -- as `CeleryCancelled`
    """Task that people cancelled: taskiq does not retry it."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)


class TaskiqSuperseded(JobSupersededError, NoResultError):  # noqa: N818
    """Task that another worker runs again: taskiq does not retry this run."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)


def track_tasks(
    broker: AsyncBroker,
    broadcaster: BlockingBroadcaster,
    channel: Channel,
    *,
    title: Title | None = None,
    cancellable: Cancellable | None = None,
    result: bool = False,
) -> None:
    """Report every task from now on, in each process that calls this.

    Args:
        broker: broker of the tasks.
        broadcaster: publisher.
        channel: returns the channel of a task; None for a task without watchers.
        title: returns the title of a task; the last part of its name by default.
        cancellable: returns whether people may cancel a task: an async one is cancelled where it
            waits, another one gets TaskiqCancelled at its next `progress`, `track` or `check`.
        result: people see what a task returns, up to 32 KiB of JSON.

    """
    reporter = TaskReporter(
        broadcaster,
        channel,
        title,
        cancellable=cancellable,
        result=result,
        errors=(TaskiqCancelled, TaskiqSuperseded),
    )
    broker.add_middlewares(_Reports(reporter))


@dataclass
class _Delivery:
    """Message that a worker executes, and what became of it."""

    task_id: str
    requeues: Any
    error: BaseException | None = None
    is_retried: bool = False


_delivery: ContextVar[_Delivery | None] = ContextVar("realtime_bridge_delivery", default=None)


class _Reports(TaskiqMiddleware):
    """Reports of the messages of one broker."""

    def __init__(self, jobs: TaskReporter) -> None:
        super().__init__()
        self._jobs = jobs

    async def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Report the retry of the message that is executed here, before a worker can start it."""
        delivery = _delivery.get()
        if delivery and delivery.task_id == message.task_id and message.labels.get(_RETRIES):
            delivery.is_retried = True
            await self._report_retry(message, delivery, message.labels.get("delay"))
        return message

    async def post_send(self, message: TaskiqMessage) -> None:
        """Report a new message."""
        if not message.labels.get(_RETRIES):
            await self._jobs.report_async(self._task(message), "queued")

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Report the start; the function itself looks whether people cancelled the task before."""
        if task := self.broker.find_task(message.task_name):
            # After this hook, the worker takes the function from the task.
            task.original_func = _interruptible(task.original_func)
        _delivery.set(_Delivery(message.task_id, message.labels.get(_REQUEUES)))
        await self._jobs.started_async(self._task(message))
        return message

    def on_error(
        self,
        message: TaskiqMessage,  # noqa: ARG002 -- taskiq's arguments
        result: TaskiqResult[Any],  # noqa: ARG002
        exception: BaseException,
    ) -> None:
        """Keep the error: taskiq replaces that of a task that it retries."""
        if delivery := _delivery.get():
            delivery.error = exception

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        """Report the end, or a retry that is not sent by this worker."""
        delivery = _delivery.get()
        assert delivery  # `pre_execute` has set it
        _delivery.set(None)
        match delivery.error:
            case _ if delivery.is_retried:
                return
            case None:
                await self._report(message, "completed", value=result.return_value)
            case JobCancelledError() as error:
                await self._report(message, "cancelled")
                result.error = JobCancelledError(str(error))  # with a result, unlike its class
            case JobSupersededError():
                return
            case NoResultError():
                is_requeued = message.labels.get(_REQUEUES) != delivery.requeues
                await self._report(message, "retrying" if is_requeued else "completed")
            case _ if isinstance(result.error, NoResultError):
                await self._report_retry(message, delivery, None)
            case error:
                await self._report(message, "failed", error_text(error))

    async def shutdown(self) -> None:
        """Finish the reports of a worker or client that ends."""
        await asyncio.to_thread(self._jobs.close)

    async def _report_retry(
        self, message: TaskiqMessage, delivery: _Delivery, delay: object
    ) -> None:
        text = None if delivery.error is None else error_text(delivery.error)
        at = unix_ms_after(float(str(delay))) if delay else None
        await self._report(message, "retrying", text, retry_at=at)

    async def _report(
        self,
        message: TaskiqMessage,
        state: str,
        error: str | None = None,
        *,
        retry_at: int | None = None,
        value: object = None,
    ) -> None:
        task = self._task(message)
        await self._jobs.report_async(task, state, error=error, retry_at=retry_at, result=value)

    def _task(self, message: TaskiqMessage) -> Task:
        task = self.broker.find_task(message.task_name)
        named = arguments_by_name(task and task.original_func, message.args, message.kwargs)
        return Task(
            id=message.task_id, name=message.task_name, args=tuple(message.args), kwargs=named
        )


def _interruptible(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does not start in a cancelled task, and is cancelled where it waits.

    An exception of a middleware would leave the message without an answer.
    """
    if hasattr(function, "__realtime_bridge__"):
        return function
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            return await current_job().run(lambda: function(*args, **kwargs))

    else:

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            current_job().check()
            return function(*args, **kwargs)

    setattr(run, "__realtime_bridge__", True)  # noqa: B010 -- functions have no such attribute
    return run
