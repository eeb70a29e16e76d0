"""Exceptions by which a task controls its queue: their ends are no failures.

A job in a `with` block inside a task sees them pass. Their classes are known by name, so that no
queue is imported.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct


class TaskEnd(Struct, frozen=True):
    """State in which an exception leaves a job.

    Args:
        state: failed, cancelled or retrying.
        error: the reason, as a text or an exception.
        retry_at: time of the next attempt, in Unix milliseconds.

    """

    state: str
    error: object
    retry_at: float | None = None


def end_of_task(error: BaseException) -> TaskEnd:
    """Return the state in which an exception leaves the job of a task."""
    for base in type(error).__mro__:
        if convert := _CONTROL.get(f"{base.__module__}.{base.__qualname__}"):
            return convert(error)
    return TaskEnd("failed", error)


def _retry_of_celery(error: Any) -> TaskEnd:
    # Celery has sent the next attempt already. If that has begun, the log refuses this state.
    return TaskEnd("retrying", error.exc, _unix_ms(error.when))


def _reject_of_celery(error: Any) -> TaskEnd:
    return TaskEnd("retrying" if error.requeue else "failed", error.reason or "rejected")


def _retry_of_huey(error: Any) -> TaskEnd:
    at = error.eta if error.delay is None else error.delay
    return TaskEnd("retrying", _reason(error), _unix_ms(at))


def _retry_of_arq(error: Any) -> TaskEnd:
    reason = error.__cause__ or error.__context__
    return TaskEnd("retrying", reason, _unix_ms((getattr(error, "defer_score", 0) or 0) / 1_000))


def _cancellation(error: BaseException) -> TaskEnd:
    return TaskEnd("cancelled", _reason(error))


def _reason(error: BaseException) -> object:
    return error.args[0] if error.args else None


def _unix_ms(when: object) -> float | None:
    """Return a time, or the end of a number of seconds, in Unix milliseconds."""
    if isinstance(when, datetime):
        return when.timestamp() * 1_000
    return (time.time() + when) * 1_000 if isinstance(when, int | float) and when else None


_CONTROL: dict[str, Callable[[Any], TaskEnd]] = {
    "arq.worker.Retry": _retry_of_arq,
    "arq.worker.RetryJob": _retry_of_arq,
    "celery.exceptions.Retry": _retry_of_celery,
    "celery.exceptions.Ignore": _cancellation,
    "celery.exceptions.Reject": _reject_of_celery,
    "huey.exceptions.RetryTask": _retry_of_huey,
    "huey.exceptions.CancelExecution": _cancellation,
}
