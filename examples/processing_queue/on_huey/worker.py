"""Huey task that processes a file and publishes its progress.

The consumer is a process of its own: `huey_consumer on_huey.worker.huey`.
"""

import hashlib
import logging
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from huey import Huey, RedisHuey, SqliteHuey

from configuration import Configuration
from on_huey.jobs import Job, Jobs
from reading import at_intervals, read_in_stages, size_of, summary
from realtime_bridge import AnswerTimeoutError, BlockingBroadcaster, PublishError
from results import save

PROGRESS_INTERVAL = 0.25
"""Seconds between two events of a job's progress."""

ANSWER_INTERVAL, ANSWER_SECONDS = 0.25, 600
"""Seconds between two looks for an answer, and the longest wait for it."""

REPEAT_SECONDS = 5
"""Seconds until the end of a job is published again after a failure."""


def _queue(configuration: Configuration) -> Huey:
    if not configuration.redis_url:
        return SqliteHuey(filename=configuration.data / "queue.db", results=False)
    folder = hashlib.sha256(bytes(configuration.data)).hexdigest()[:12]
    return RedisHuey(f"processing-queue-{folder}", url=configuration.redis_url, results=False)


logger = logging.getLogger("huey.processing_queue")
configuration = Configuration.from_env()
jobs = Jobs(configuration.data / "jobs.db")
huey = _queue(configuration)
broadcaster = BlockingBroadcaster.from_env()


class CancelledJobError(Exception):
    """Cancel of the job by its user."""


@huey.task()  # type: ignore[untyped-decorator]
def process(job_id: str) -> None:
    """Process a job's file from the start, and end as `completed`, `failed` or `cancelled`."""
    job = jobs.take(job_id, worker=os.getpid())
    if job is None:
        logger.info("job not taken job=%s", job_id)
        return
    try:
        raise_if_cancelled(job)
        job = replace(job, size=size_of(Path(job.path)))
        report("job.started", job)
        result = _read(job)
        message = _save(job, result)
    except CancelledJobError:
        report("job.cancelled", replace(jobs.get(job_id) or job, state="cancelled", question=None))
    except Exception as error:
        # Every error ends the job: its user waits for the end.
        logger.warning("job failed job=%s error=%r", job_id, error)
        text = str(error) or type(error).__name__
        latest = jobs.get(job_id) or job
        report("job.failed", replace(latest, state="failed", question=None, error=text))
    else:
        done = replace(job, state="completed", bytes_done=job.bytes_total)
        report("job.completed", replace(done, result=result, message=message))


def report(event: str, job: Job) -> None:
    """Save the job, then publish it.

    In this order, no snapshot is behind its position.
    """
    jobs.save(job)
    try:
        _publish(event, job)
    except PublishError as error:
        logger.warning("event not published event=%s job=%s error=%s", event, job.id, error)
        if job.ended:
            report_again.schedule((event, job.id), delay=REPEAT_SECONDS)


@huey.task()  # type: ignore[untyped-decorator]
def report_again(event: str, job_id: str) -> None:
    """Publish a job's end again: no later event would replace it."""
    job = jobs.get(job_id)
    if job:
        report(event, job)


def _publish(event: str, job: Job) -> None:
    # The end has an id of its own, so that several attempts publish it once.
    event_id = f"{event}-{job.id}" if job.ended else None
    broadcaster.publish(job.channel, event, job.view(), id=event_id, key=f"job-{job.id}")


def _read(job: Job) -> dict[str, Any]:
    def report_progress(stage: str, done: int) -> None:
        raise_if_cancelled(job)
        report("job.progress", replace(job, stage=stage, bytes_done=done))

    return read_in_stages(
        Path(job.path),
        job.size,
        rate=configuration.bytes_per_second,
        report=at_intervals(PROGRESS_INTERVAL, report_progress),
    )


def _save(job: Job, result: dict[str, Any]) -> str | None:
    """Write the result to a file; return a message only if an earlier file stays."""
    text = summary(result)
    message = save(text, job.name, ask=partial(_ask, job))
    return message if message != text else None


def _ask(job: Job, text: str, choices: list[str]) -> str:
    """Wait for the answer to a question. One that an earlier attempt got is used again."""
    job = replace(job, bytes_done=job.bytes_total)
    question = {"id": "overwrite", "text": text, "choices": choices}
    report("job.asking", replace(job, state="asking", question=question))
    end = time.monotonic() + ANSWER_SECONDS
    while (answer := raise_if_cancelled(job).answer) is None:
        if time.monotonic() > end:
            raise AnswerTimeoutError(f"No answer within {ANSWER_SECONDS // 60} minutes")
        time.sleep(ANSWER_INTERVAL)
    report("job.progress", job)
    return answer


def raise_if_cancelled(job: Job) -> Job:
    """Return the job with the latest requests of people."""
    latest = jobs.get(job.id) or job
    if latest.cancelling:
        raise CancelledJobError("Cancelled")
    return latest
