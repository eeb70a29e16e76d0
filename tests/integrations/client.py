"""Process that calls a task of a queue for a user, a number of times.

It prints the seconds of the first call, and of the others together.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import redis

from realtime_bridge import Broadcaster
from tests.integrations import work


def call_of(queue: str) -> Callable[..., Any]:
    """Return the call of a task that waits; the import of another queue would track it too."""
    application = import_module(f"tests.integrations.{queue}_app")
    calls: dict[str, Callable[[], Callable[..., Any]]] = {
        "celery": lambda: application.waits_for_item.delay,
        "huey": lambda: application.waits,
        "rq": lambda: partial(rq_queue(application).enqueue, "tests.integrations.work.waits"),
    }
    return calls[queue]()


def rq_queue(application: Any) -> Any:
    return application.Queue(connection=redis.Redis.from_url(work.REDIS))


def main(queue: str, user: str, count: str) -> None:
    call = call_of(queue)
    # A task without a job connects to the queue, and the backend is imported.
    call(user="")
    Broadcaster.from_env()
    started = time.monotonic()
    call(user=user)
    first = time.monotonic()
    for _ in range(int(count) - 1):
        call(user=user)
    print(first - started, time.monotonic() - first, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
