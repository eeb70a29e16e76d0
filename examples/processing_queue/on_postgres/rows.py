"""Statements of the web application over the rows of jobs."""

from pathlib import Path

import psycopg

INSERT = """
INSERT INTO queue.jobs (user_id, title, path) VALUES (%s, %s, %s) RETURNING id
"""

CANCEL = """
UPDATE queue.jobs SET status = 'cancelled', question = NULL, ended_at = now()
WHERE id = %s AND status IN ('queued', 'running', 'asking')
"""

ANSWER = """
UPDATE queue.jobs SET answer = %s WHERE id = %s AND status = 'asking' AND answer IS NULL
"""

WORKERS = """
SELECT DISTINCT worker FROM queue.jobs
WHERE status IN ('running', 'asking') AND leased_until > now()
"""


def add_job(connection: psycopg.Connection, *, user: str, title: str, path: Path) -> int:
    """Insert a job, and return its id."""
    (job,) = connection.execute(INSERT, [user, title, str(path)]).fetchone() or (0,)
    return int(job)


def cancel(connection: psycopg.Connection, job: int) -> None:
    """Cancel a job that has not ended."""
    connection.execute(CANCEL, [job])


def answer(connection: psycopg.Connection, job: int, value: str) -> None:
    """Answer the question of a job; the first answer counts."""
    connection.execute(ANSWER, [value, job])


def workers(connection: psycopg.Connection) -> list[int]:
    """Return the process ids of the workers that have a job."""
    return [worker for (worker,) in connection.execute(WORKERS)]
