"""Bodies of the tasks; they wait for lists in Redis, and so end with it."""

import asyncio
import os
import signal
import time
from itertools import count as count_from
from typing import Any

import redis
from rq import Retry

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.tasks import Task, current_job
from realtime_bridge.jobs.control import JobReply

REDIS = os.environ.get("QUEUE_REDIS_URL", "redis://127.0.0.1:6379/0")
_redis = redis.Redis.from_url(REDIS, socket_timeout=None)  # `waits` waits without an end


def channel(task: Task) -> str | None:
    """Return the user's channel; a task without a user has no job."""
    user = task.kwargs["user"]
    return f"user-{user}" if user else None


async def cancel(broadcaster: BlockingBroadcaster, user: str, job: str) -> JobReply:
    """Cancel a job as a page does."""
    return await asyncio.to_thread(broadcaster.cancel_job, f"user-{user}", job, by="ann")


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


def kill(*processes: int, user: str) -> None:
    """Kill processes, for a test that waits for their end."""
    push(f"killed-{user}", " ".join(map(str, processes)))
    for process in processes:
        os.kill(process, signal.SIGKILL)


def works(*, user: str) -> None:
    current_job().progress(0.5, "Half way")


def raises(*, user: str) -> None:
    raise ValueError("no such file")


def is_retried(*, user: str) -> None:
    if _redis.incr(f"tries-{user}") == 1:
        raise ValueError("not yet")


def is_killed(*, user: str) -> None:
    kill(os.getpid(), user=user)


def is_killed_once(*, user: str) -> None:
    if count(user) == 1:
        is_killed(user=user)


def returns_retry(*, user: str) -> Any:
    """Request another attempt by the result, as RQ allows."""
    return Retry(max=1) if count(user) == 1 else None


def exits(*, user: str) -> None:
    raise SystemExit(3)


def fails_oddly(*, user: str) -> None:
    raise UnreadableError


def fails_at_length(*, user: str) -> None:
    raise ValueError("x" * 2_000_000)


def works_on(*, user: str) -> None:
    """Work, and report it, until people cancel the job or another run takes it over."""
    for number in count_from():
        current_job().progress(stage=f"step {number}")
        time.sleep(0.02)


def returns(*, user: str) -> dict[str, int]:
    return {"rows": 12}


def kills_all(*, user: str) -> None:
    """Kill the worker and its child, in which this runs."""
    kill(os.getppid(), os.getpid(), user=user)


def waits(*, user: str) -> None:
    """Wait until the test pushes an item."""
    _redis.blpop([f"go-{user}"])
