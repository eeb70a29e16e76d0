"""Huey task that processes a file, and publishes the job's row as HTML."""

import logging
import os
from dataclasses import replace
from pathlib import Path

from on_htmx.row import row
from on_huey.jobs import Job
from on_huey.worker import (
    PROGRESS_INTERVAL,
    REPEAT_SECONDS,
    broadcaster,
    configuration,
    huey,
    jobs,
    raise_if_cancelled,
)
from reading import at_intervals, read_in_stages, size_of
from realtime_bridge import PublishError

logger = logging.getLogger("huey.processing_queue")


@huey.task()  # type: ignore[untyped-decorator]
def process(job_id: str) -> None:
    """Process a job's file from the start, and end as `completed` or `failed`."""
    job = jobs.take(job_id, worker=os.getpid())
    if job is None:
        logger.info("job not taken job=%s", job_id)
        return

    def report_progress(stage: str, done: int) -> None:
        raise_if_cancelled(job)
        show(replace(job, stage=stage, bytes_done=done))

    try:
        job = replace(job, size=size_of(Path(job.path)))
        show(job)
        report = at_intervals(PROGRESS_INTERVAL, report_progress)
        rate = configuration.bytes_per_second
        result = read_in_stages(Path(job.path), job.size, rate=rate, report=report)
    except Exception as error:
        # Every error ends the job: its user waits for the end.
        logger.warning("job failed job=%s error=%r", job_id, error)
        message = str(error) or type(error).__name__
        show(replace(jobs.get(job_id) or job, state="failed", error=message))
    else:
        show(replace(job, state="completed", bytes_done=job.bytes_total, result=result))


def show(job: Job) -> None:
    """Save the job, then publish its row: the latest one replaces all earlier ones."""
    jobs.save(job)
    try:
        # htmx 4 inserts the data of events without a name, which are those named `message`.
        broadcaster.publish(job.channel, "message", row(job), key=f"job-{job.id}")
    except PublishError as error:
        logger.warning("row not published job=%s error=%s", job.id, error)
        if job.ended:
            show_again.schedule((job.id,), delay=REPEAT_SECONDS)


@huey.task()  # type: ignore[untyped-decorator]
def show_again(job_id: str) -> None:
    """Publish a job's end again: no later row would replace it."""
    if job := jobs.get(job_id):
        show(job)
