"""Jobs in tasks: the exceptions by which a task controls its queue are no failures."""

import time
from datetime import UTC, datetime

import pytest
from celery.exceptions import Ignore, Reject, Retry
from huey.exceptions import CancelExecution, RetryTask

from realtime_bridge.jobs.queue_errors import end_of_task

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (Retry(exc=ValueError("not yet")), None, "not yet"),
        (Ignore("nothing to do"), "cancelled", "nothing to do"),
        (Ignore(), "cancelled", "None"),
        (Reject("no", requeue=False), "failed", "no"),
        (Reject("later", requeue=True), "retrying", "later"),
        (Reject(), "failed", "rejected"),
        (RetryTask("again"), "retrying", "again"),
        (CancelExecution(), "cancelled", "None"),
        (ValueError("bad"), "failed", "bad"),
    ],
)
def test_exception_of_a_queue_has_its_state(error: Exception, state: str, reason: str) -> None:
    end = end_of_task(error)
    assert (end.state, str(end.error), end.retry_at) == (state, reason, None)


@pytest.mark.parametrize(
    "error", [Retry(exc=ValueError(), when=NOON), RetryTask(eta=NOON)], ids=["celery", "huey"]
)
def test_time_of_a_retry_is_reported(error: Exception) -> None:
    end = end_of_task(error)
    assert (end.state, end.retry_at) == ("retrying", NOON.timestamp() * 1_000)


@pytest.mark.parametrize("error", [Retry(when=60), RetryTask(delay=60)], ids=["celery", "huey"])
def test_delay_of_a_retry_is_a_time(error: Exception) -> None:
    retry_at = end_of_task(error).retry_at
    assert retry_at
    assert 50 < retry_at / 1_000 - time.time() <= 60
