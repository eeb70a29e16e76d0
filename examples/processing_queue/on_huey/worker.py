"""Huey task that processes a file and publishes its progress.

The consumer is a process of its own: `huey_consumer on_huey.worker.huey`.
"""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from huey import Huey, RedisHuey, SqliteHuey

from configuration import Configuration
from on_huey.jobs import Job, Jobs
from reading import at_intervals, read_in_stages, size_of
from realtime_bridge import BlockingBroadcaster, PublishError

PROGRESS_INTERVAL = 0.25
"""Seconds between two events of a job's progress."""

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


@huey.task()  # type: ignore[untyped-decorator]
def process(job_id: str) -> None:
    """Process a job's file from the start, and end as `completed` or `failed`."""
    job = jobs.get(job_id)
    if job is None:
        logger.warning("job not found job=%s", job_id)
        return
    try:
        job = replace(job, state="started", bytes_done=0, size=size_of(Path(job.path)))
        report("job.started", job)
        result = _read(job)
    except Exception as error:
        # Every error ends the job: its user waits for the end.
        logger.warning("job failed job=%s error=%r", job_id, error)
        message = str(error) or type(error).__name__
        report("job.failed", replace(jobs.get(job_id) or job, state="failed", error=message))
    else:
        job = replace(job, state="completed", bytes_done=job.bytes_total, result=result)
        report("job.completed", job)


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
        report("job.progress", replace(job, stage=stage, bytes_done=done))

    return read_in_stages(
        Path(job.path),
        job.size,
        rate=configuration.bytes_per_second,
        report=at_intervals(PROGRESS_INTERVAL, report_progress),
    )
