"""Insertion of a job's row, which queues the job."""

from pathlib import Path

import psycopg

INSERT = """
INSERT INTO queue.jobs (user_id, title, path) VALUES (%s, %s, %s) RETURNING id
"""


def add_job(connection: psycopg.Connection, *, user: str, title: str, path: Path) -> int:
    """Insert a job, and return its id."""
    (job,) = connection.execute(INSERT, [user, title, str(path)]).fetchone() or (0,)
    return int(job)
