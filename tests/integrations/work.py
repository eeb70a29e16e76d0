"""Bodies of the tasks; they wait for lists in Redis, and so end with it."""

import os
import signal

import redis

from realtime_bridge.integrations.tasks import current_job

REDIS = os.environ.get("REALTIME_REDIS_URL", "redis://127.0.0.1:6379/0")
_redis = redis.Redis.from_url(REDIS)


def works(*, user: str) -> None:
    job = current_job()
    assert job
    job.progress(0.5, "Half way")


def raises(*, user: str) -> None:
    raise ValueError("no such file")


def is_retried(*, user: str) -> None:
    if _redis.incr(f"tries-{user}") == 1:
        raise ValueError("not yet")


def is_killed(*, user: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def waits(*, user: str) -> None:
    """Wait until the test pushes an item."""
    _redis.blpop([f"go-{user}"])
