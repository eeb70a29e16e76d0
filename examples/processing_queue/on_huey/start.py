"""Processing queue on huey and SQLite, with a page in plain JavaScript."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from huey.exceptions import HueyException

from configuration import USER
from variant import Files, LaunchError, Variant


def begin(files: Files) -> None:
    """Queue the unfinished jobs of an earlier run, then a job for each file."""
    from on_huey.jobs import Job
    from on_huey.worker import huey, jobs, process  # reads the environment

    try:
        huey.pending_count()
    except Exception as error:
        raise LaunchError(f"The queue cannot be reached: {error}") from error
    recover()
    with _queueing():
        for name, path in files:
            job = Job(user=USER, name=name, path=str(path), size=path.stat().st_size)
            jobs.save(job)
            process(job.id)


def recover() -> None:
    """Report the jobs of a worker that ended as lost, and queue all unfinished jobs again."""
    from on_huey.worker import jobs, process, report

    for job in jobs.unfinished():
        if job.state != "queued":
            report("job.lost", replace(job, state="lost", question=None, worker=None))
        # A job may be in the queue twice: only one of its tasks can take it.
        with _queueing():
            process(job.id)


@contextmanager
def _queueing() -> Generator[None]:
    try:
        yield
    except HueyException as error:
        raise LaunchError(f"The jobs cannot be queued: {error}") from error


CONSUMER = ("huey.bin.huey_consumer", "on_huey.worker.huey")
OPTIONS = ("--workers", "2", "--max-delay", "0.25", "--no-periodic", "--quiet")


def environment() -> Mapping[str, str]:
    """Return the path of the log: the worker appends to it, also while no server runs."""
    return {"REALTIME_SQLITE_PATH": str(Path(os.environ["QUEUE_DATA"], "log.db"))}


VARIANT = Variant(
    app="on_huey.app:app",
    workers=[(*CONSUMER, *OPTIONS)],
    begin=begin,
    follow=True,
    recover=recover,
    environment=environment,
    follow_server=True,
)
