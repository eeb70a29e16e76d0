"""Processing queue on PostgreSQL: jobs are rows, and triggers publish their changes."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg

from configuration import USER
from on_postgres.rows import add_job
from variant import Files, LaunchError, Variant
from widget.build import build

TABLE = Path(__file__).with_name("jobs.sql")
COMMAND = Path(sys.executable).with_name("realtime-bridge")
PUBLISHED_COLUMNS = "id,title,status,progress,stage,message,error,created_at,cancellable,question"
WATCH = (
    *("watch", "queue.jobs", "--channel", "user-{user_id}", "--event", "job.{op}"),
    *("--columns", PUBLISHED_COLUMNS, "--key", "job-{id}"),
)


def environment() -> Mapping[str, str]:
    """Return the variables with which the server uses the log in the database."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise LaunchError("Set DATABASE_URL=postgresql://USER@HOST/DATABASE")
    return {"REALTIME_BACKEND": "postgres", "REALTIME_POSTGRES_URL": url}


def begin(files: Files) -> None:
    """Create the table, watch it, and add a row per file."""
    build()
    try:
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            connection.execute(TABLE.read_bytes())
    except psycopg.Error as error:
        raise LaunchError(f"PostgreSQL rejected jobs.sql: {error}") from error
    _run("postgres", "install")
    _run("postgres", *WATCH)
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        for name, path in files:
            add_job(connection, user=USER, title=name, path=path)


def _run(*arguments: str) -> None:
    if subprocess.run([COMMAND, *arguments], check=False).returncode:
        raise LaunchError(f"`realtime-bridge {' '.join(arguments)}` failed: see its message above.")


VARIANT = Variant(
    app="on_postgres.app:app",
    workers=[("on_postgres.worker",)] * 2,
    follow=True,
    environment=environment,
    begin=begin,
)
