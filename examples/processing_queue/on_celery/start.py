"""Processing queue on Celery: jobs are tasks, and Celery's signals report them."""

import os
from collections.abc import Mapping
from signal import SIGQUIT

from kombu.exceptions import OperationalError

from configuration import USER
from variant import Files, LaunchError, Variant
from widget.build import build

WORKER = ("celery", "--quiet", "-A", "on_celery.tasks", "worker")
OPTIONS = ("--concurrency", "2", "--loglevel", "warning", "--without-mingle", "--without-gossip")


def environment() -> Mapping[str, str]:
    """Return the variables with which Redis is the broker and the log."""
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    return {"REDIS_URL": url, "REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": url}


def begin(files: Files) -> None:
    """Queue a job for each file."""
    build()
    from on_celery.tasks import app, process_file  # reads the environment

    try:
        app.connection_for_write().ensure_connection(max_retries=1)
    except OperationalError as error:
        raise LaunchError(f"Redis cannot be reached ({error}): set REDIS_URL") from error
    for name, path in files:
        process_file.delay(user=USER, name=name, path=str(path))


VARIANT = Variant(
    app="on_celery.app:app",
    workers=[(*WORKER, *OPTIONS)],
    end=SIGQUIT,
    follow=True,
    environment=environment,
    begin=begin,
)
