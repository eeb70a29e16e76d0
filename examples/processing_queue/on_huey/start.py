"""Processing queue on huey and SQLite, with a page in plain JavaScript."""

import os
from collections.abc import Mapping
from pathlib import Path

from huey.exceptions import HueyException

from configuration import USER
from variant import Files, LaunchError, Variant


def begin(files: Files) -> None:
    """Queue the unfinished jobs of an earlier run, then a job for each file."""
    try:
        _begin(files)
    except HueyException as error:
        raise LaunchError(f"The jobs cannot be queued: {error}") from error


def _begin(files: Files) -> None:
    from on_huey.jobs import Job
    from on_huey.worker import huey, jobs, process  # reads the environment

    try:
        huey.pending_count()
    except Exception as error:
        raise LaunchError(f"The queue cannot be reached: {error}") from error
    for job in jobs.unfinished():
        process(job.id)
    for name, path in files:
        job = Job(user=USER, name=name, path=str(path), size=path.stat().st_size)
        jobs.save(job)
        process(job.id)


CONSUMER = ("huey.bin.huey_consumer", "on_huey.worker.huey")
OPTIONS = ("--workers", "2", "--max-delay", "0.25", "--no-periodic", "--quiet")


def environment() -> Mapping[str, str]:
    """Return the path of the log: the worker appends to it, also while no server runs."""
    return {"REALTIME_SQLITE_PATH": str(Path(os.environ["QUEUE_DATA"], "log.db"))}


VARIANT = Variant(
    app="on_huey.app:app",
    workers=[(*CONSUMER, *OPTIONS)],
    begin=begin,
    environment=environment,
    follow_server=True,
)
