"""Application on Celery, for a worker and its clients."""

import os
import signal
import time
from typing import Any

from celery import Celery

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.celery import current_job, track_tasks

REDIS = os.environ.get("REALTIME_REDIS_URL", "redis://127.0.0.1:6379/0")

app = Celery("tests", broker=REDIS, backend=REDIS)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)

track_tasks(BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user']}")


@app.task
def works(*, user: str) -> None:
    job = current_job()
    assert job
    job.progress(0.5, "Half way")


@app.task
def raises(*, user: str) -> None:
    raise ValueError("no such file")


@app.task
def is_killed(*, user: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True, max_retries=1)
def is_retried(self: Any, *, user: str) -> None:
    if not self.request.retries:
        try:
            int("not yet")
        except ValueError as error:
            raise self.retry(exc=error, countdown=0) from error


@app.task(bind=True, max_retries=1)
def is_retried_later(self: Any, *, user: str) -> None:
    raise self.retry(exc=ValueError("not yet"), countdown=60)


@app.task(time_limit=1)
def exceeds_time_limit(*, user: str) -> None:
    time.sleep(3_600)


@app.task
def waits(*, user: str) -> None:
    time.sleep(3_600)
