"""Application on Celery, for a worker and its clients."""

import os
import time
from typing import Any

from celery import Celery
from celery.exceptions import Ignore, Reject

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.celery import JobTask, current_job, track_tasks
from tests.integrations import work

REDIS = os.environ.get("QUEUE_REDIS_URL", "redis://127.0.0.1:6379/0")

app = Celery("tests", broker=REDIS, backend=REDIS, task_cls=JobTask)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)
if seconds := os.environ.get("QUEUE_VISIBILITY"):
    app.conf.broker_transport_options = {"visibility_timeout": float(seconds)}

broadcaster = BlockingBroadcaster.from_env()
track_tasks(broadcaster, work.channel, cancellable=lambda _: True, result=True, nested=True)


@app.task
def works(*, user: str) -> None:
    current_job().progress(0.5, "Half way")


@app.task
def takes_a_position(user: str, number: int = 1) -> None:
    current_job().progress(0.5)


@app.task
def has_no_job(*, user: str = "", result: str) -> None:
    for _ in current_job().track([1]):
        current_job().progress(0.5)
    work.push(result, "done")


@app.task(bind=True, max_retries=1)
def has_a_job_of_its_own(self: Any, *, user: str = "", channel: str) -> None:
    with broadcaster.job(channel, id=self.request.id):
        if not self.request.retries:
            raise self.retry(exc=ValueError("not yet"), countdown=0)


@app.task
def raises(*, user: str) -> None:
    raise ValueError("no such file")


@app.task
def is_killed(*, user: str) -> None:
    work.is_killed(user=user)


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
def ignores(*, user: str) -> None:
    raise Ignore("nothing to do")


@app.task
def rejects(*, user: str) -> None:
    raise Reject("no such queue", requeue=False)


@app.task
def rejects_with_error(*, user: str) -> None:
    raise Reject(ValueError("bad input"))


@app.task(acks_late=True)
def requeues(*, user: str) -> None:
    if work.count(user) == 1:
        raise Reject("not yet", requeue=True)


@app.task
def exits(*, user: str) -> None:
    raise SystemExit(3)


@app.task
def fails_oddly(*, user: str) -> None:
    raise work.UnreadableError


@app.task
def fails_at_length(*, user: str) -> None:
    raise ValueError("x" * 2_000_000)


@app.task(soft_time_limit=1)
def exceeds_soft_time_limit(*, user: str) -> None:
    time.sleep(3_600)


@app.task(bind=True, max_retries=1)
def is_retried_without_a_handled_error(self: Any, *, user: str) -> None:
    if not self.request.retries:
        raise self.retry(exc=ValueError("not yet"), countdown=0)


@app.task(autoretry_for=(Exception,), max_retries=1)
def works_on(*, user: str) -> None:
    work.works_on(user=user)


@app.task
def returns(*, user: str) -> dict[str, int]:
    return work.returns(user=user)


@app.task
def kills_all(*, user: str) -> None:
    work.kills_all(user=user)


@app.task
def calls(*, user: str) -> None:
    returns.delay(user=user)


@app.task(acks_late=True)
def waits_for_item_unacknowledged(*, user: str) -> None:
    work.waits(user=user)


@app.task
def waits_for_item(*, user: str) -> None:
    work.waits(user=user)


@app.task
def waits(*, user: str) -> None:
    time.sleep(3_600)
