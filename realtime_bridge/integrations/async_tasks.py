"""Async tasks as jobs, for queues whose workers are event loops."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from realtime_bridge.errors import JobCancelledError, JobSupersededError
from realtime_bridge.integrations.tasks import Task, TaskReporter, current_job
from realtime_bridge.jobs.queue_errors import TaskEnd
from realtime_bridge.jobs.values import error_text, to_text

T = TypeVar("T")

EndOf = Callable[[BaseException], TaskEnd | None]
"""Returns the state in which a queue leaves a task that raised; None where it is not known yet."""


async def run_async(
    reporter: TaskReporter,
    task: Task,
    work: Callable[[], Awaitable[T]],
    end_of: EndOf,
    *,
    is_interruptible: bool = True,
) -> T:
    """Run a task as a job, and return its result.

    Args:
        reporter: reporter of the queue.
        task: the task.
        work: starts the task.
        end_of: returns the end of a task that raised.
        is_interruptible: whether a cancel ends the task where it waits; otherwise, its next report
            raises.

    Raises:
        JobCancelledError: people cancelled the task.
        JobSupersededError: another worker runs it again.

    """
    try:
        # Within it: a worker that stops may cancel the task while its start is published.
        await reporter.started_async(task)
        job = current_job()
        job.check()
        result = await (job.run(work) if is_interruptible else work())
    except JobCancelledError:
        await reporter.report_async(task, "cancelled")
        raise
    except JobSupersededError:
        raise  # the job is that of the other run
    except BaseException as error:
        if end := end_of(error):
            reason, at = end.error, end.retry_at
            text = error_text(reason) if isinstance(reason, BaseException) else to_text(reason)
            retry_at = None if at is None else int(at)
            await reporter.report_async(task, end.state, error=text, retry_at=retry_at)
        raise
    await reporter.report_async(task, "completed", result=result)
    return result
