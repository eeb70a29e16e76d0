"""Bodies of the tasks; they wait for lists in Redis, and so end with it."""

import os
import signal
from typing import Any

import redis
from rq import Retry

from realtime_bridge.integrations.tasks import Task, current_job

REDIS = os.environ.get("QUEUE_REDIS_URL", "redis://127.0.0.1:6379/0")
_redis = redis.Redis.from_url(REDIS)


def channel(task: Task) -> str | None:
    """Return the user's channel; a task without a user has no job."""
    user = task.kwargs["user"]
    return f"user-{user}" if user else None


class UnreadableError(Exception):
    """Error whose text cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def count(user: str) -> int:
    """Return the number of this call."""
    number: int = _redis.incr(f"calls-{user}")
    return number


def push(name: str, value: str) -> None:
    """Append a value to a list of Redis, for a test that waits for it."""
    _redis.rpush(name, value)


def works(*, user: str) -> None:
    current_job().progress(0.5, "Half way")


def raises(*, user: str) -> None:
    raise ValueError("no such file")


def is_retried(*, user: str) -> None:
    if _redis.incr(f"tries-{user}") == 1:
        raise ValueError("not yet")


def is_killed(*, user: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def returns_retry(*, user: str) -> Any:
    """Request another attempt by the result, as RQ allows."""
    return Retry(max=1) if count(user) == 1 else None


def exits(*, user: str) -> None:
    raise SystemExit(3)


def fails_oddly(*, user: str) -> None:
    raise UnreadableError


def fails_at_length(*, user: str) -> None:
    raise ValueError("x" * 2_000_000)


def waits(*, user: str) -> None:
    """Wait until the test pushes an item."""
    _redis.blpop([f"go-{user}"])
