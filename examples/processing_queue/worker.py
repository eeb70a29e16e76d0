"""The work: a huey task that processes one file and publishes how far it is.

Its consumer is a process of its own: `huey_consumer worker.huey`.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from huey import Huey, RedisHuey, SqliteHuey

from configuration import Configuration
from jobs import Job, Jobs
from pace import Conflation, Throttle
from realtime_bridge import BlockingBroadcaster, PublishError
from stages import STAGES

CHUNK = 256 * 1024
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
        job = replace(job, state="started", bytes_done=0, size=Path(job.path).stat().st_size)
        tell("job.started", job)
        result = _read_in_stages(job)
    except Exception as error:
        # Whatever it was, people wait for an end.
        logger.warning("job %s failed: %r", job_id, error)
        tell("job.failed", replace(jobs.get(job_id) or job, state="failed", error=_said(error)))
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


def _read_in_stages(job: Job) -> dict[str, Any]:
    result: dict[str, Any] = {"bytes": job.size}
    progress = _Progress(job)
    for name, make in STAGES.items():
        stage = make()
        for chunk in _chunks(job):
            stage.feed(chunk)
            progress.advance(name, len(chunk))
        result |= stage.result()
    return result


class _Progress:
    """How far one job is, told a few times a second."""

    def __init__(self, job: Job) -> None:
        started = time.monotonic()
        self._job = job
        self._done = 0
        self._throttle = Throttle(configuration.bytes_per_second, started=started)
        self._conflation = Conflation(PROGRESS_INTERVAL, started=started)

    def advance(self, stage: str, read: int) -> None:
        """Note that so many bytes were read, and tell if it is time to."""
        self._done += read
        time.sleep(self._throttle.pause(self._done, time.monotonic()))
        began = time.monotonic()
        if self._conflation.due(began):
            tell("job.progress", replace(self._job, stage=stage, bytes_done=self._done))
            self._conflation.reported(began, time.monotonic())


def _chunks(job: Job) -> Iterator[bytes]:
    read = 0
    with Path(job.path).open("rb") as file:
        while chunk := file.read(CHUNK):
            read += len(chunk)
            if read > job.size:
                break
            yield chunk
    if read != job.size:
        raise OSError("The file changed while it was being read")


def _said(error: Exception) -> str:
    """Return what went wrong without the paths of this machine."""
    strerror = getattr(error, "strerror", None)
    return strerror or str(error) or type(error).__name__
