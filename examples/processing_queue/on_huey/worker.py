"""The work: a huey task that processes one file and publishes how far it is.

Its consumer is a process of its own: `huey_consumer on_huey.worker.huey`.
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
TELL_AGAIN_AFTER = 5


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
    """Process one job's file from the start, and end in `completed` or `failed`."""
    job = jobs.get(job_id)
    if job is None:
        logger.warning("job %s is not known here", job_id)
        return
    try:
        job = replace(job, state="started", bytes_done=0, size=size_of(Path(job.path)))
        tell("job.started", job)
        result = _read(job)
    except Exception as error:
        # Whatever it was, people wait for an end.
        logger.warning("job %s failed: %r", job_id, error)
        said = str(error) or type(error).__name__
        tell("job.failed", replace(jobs.get(job_id) or job, state="failed", error=said))
    else:
        done = replace(job, state="completed", bytes_done=job.bytes_total, result=result)
        tell("job.completed", done)


def tell(event: str, job: Job) -> None:
    """Save the job first, then publish it, so that no snapshot is behind its position."""
    jobs.save(job)
    try:
        _publish(event, job)
    except PublishError as error:
        logger.warning("the job goes on, but its %s was not published: %s", event, error)
        if job.ended:
            tell_again.schedule((event, job.id), delay=TELL_AGAIN_AFTER)


@huey.task()  # type: ignore[untyped-decorator]
def tell_again(event: str, job_id: str) -> None:
    """Publish a job's end, which no later event would make up for."""
    job = jobs.get(job_id)
    if job:
        tell(event, job)


def _publish(event: str, job: Job) -> None:
    # A job ends once: with an id of its own, its end is published once however often we try.
    end = f"{event}-{job.id}" if job.ended else None
    broadcaster.publish(job.channel, event, job.view(), id=end, key=f"job-{job.id}")


def _read(job: Job) -> dict[str, Any]:
    def tell_progress(stage: str, done: int) -> None:
        tell("job.progress", replace(job, stage=stage, bytes_done=done))

    return read_in_stages(
        Path(job.path),
        job.size,
        rate=configuration.bytes_per_second,
        tell=at_intervals(PROGRESS_INTERVAL, tell_progress),
    )
