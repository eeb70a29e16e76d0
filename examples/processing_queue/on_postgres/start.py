"""The processing queue in PostgreSQL: jobs are rows, and triggers tell of them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg

from configuration import USER
from on_postgres.rows import add
from variant import Files, LaunchError, Variant
from widget.build import build

TABLE = Path(__file__).with_name("jobs.sql")
COMMAND = Path(sys.executable).with_name("realtime-bridge")
TOLD = "id,title,status,progress,stage,message,error,created_at"
WATCH = (
    *("watch", "queue.jobs", "--channel", "user-{user_id}", "--event", "job.{op}"),
    *("--columns", TOLD, "--key", "job-{id}"),
)


def environment() -> Mapping[str, str]:
    """Let the server hear the log in the database."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise LaunchError("Say where PostgreSQL is: DATABASE_URL=postgresql://USER@HOST/DATABASE")
    return {"REALTIME_BACKEND": "postgres", "REALTIME_POSTGRES_URL": url}


def begin(files: Files) -> None:
    """Make the table, have it watched, and add a row for each file."""
    build()
    try:
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            connection.execute(TABLE.read_bytes())
    except psycopg.Error as error:
        raise LaunchError(f"PostgreSQL: {error}") from error
    _run("postgres", "install")
    _run("postgres", *WATCH)
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        for name, path in files:
            add(connection, user=USER, title=name, path=path)


def _run(*arguments: str) -> None:
    if subprocess.run([COMMAND, *arguments], check=False).returncode:
        raise LaunchError("The table cannot be watched; what was said is above.")


VARIANT = Variant(
    app="on_postgres.app:app",
    workers=[("on_postgres.worker",)] * 2,
    follow=True,
    environment=environment,
    begin=begin,
)
