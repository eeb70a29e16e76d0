"""A job is queued by its row."""

from pathlib import Path

import psycopg

ADD = """
INSERT INTO queue.jobs (user_id, title, path) VALUES (%s, %s, %s) RETURNING id
"""


def add(connection: psycopg.Connection, *, user: str, title: str, path: Path) -> int:
    """Queue a job, and return its id."""
    (job,) = connection.execute(ADD, [user, title, str(path)]).fetchone() or (0,)
    return int(job)
