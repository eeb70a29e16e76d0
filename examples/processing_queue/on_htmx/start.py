"""Processing queue with htmx: the worker renders the rows of a page without a script."""

from dataclasses import replace

from huey.exceptions import HueyException

from configuration import USER
from on_huey.start import OPTIONS, environment
from variant import Files, LaunchError, Variant


def begin(files: Files) -> None:
    """Queue the unfinished jobs of an earlier run, then a job for each file."""
    try:
        _begin(files)
    except HueyException as error:
        raise LaunchError(f"The jobs cannot be queued: {error}") from error


def _begin(files: Files) -> None:
    from on_htmx.worker import broadcaster, jobs, process, show  # reads the environment
    from on_huey.jobs import Job

    for job in jobs.unfinished():
        jobs.save(replace(job, state="queued"))
        process(job.id)
    for name, path in files:
        job = Job(user=USER, name=name, path=str(path), size=path.stat().st_size)
        show(job)
        process(job.id)
    broadcaster.close()


VARIANT = Variant(
    app="on_htmx.app:app",
    workers=[("huey.bin.huey_consumer", "on_htmx.worker.huey", *OPTIONS)],
    begin=begin,
    environment=environment,
    follow_server=True,
)
