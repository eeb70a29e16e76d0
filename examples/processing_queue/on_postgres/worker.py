"""Worker that takes a job's row, processes the file, and updates the row.

It uses PostgreSQL alone, and no broadcaster. Any number of workers may run: when one is killed, the
lease of its row ends, and another worker takes the row.
"""

import logging
import os
import time
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg.types.json import Jsonb

from configuration import Configuration
from reading import at_intervals, read_in_stages, size_of, summary
from results import save
from stages import STAGES

PROGRESS_INTERVAL = 0.25
POLL_INTERVAL = 0.5
"""Seconds between two updates of the row, and between two looks for a job."""

# SKIP LOCKED: two workers that look at the same time take different rows.
TAKE = """
UPDATE queue.jobs
SET status = 'running', progress = 0, stage = NULL, message = NULL, error = NULL,
    started_at = now(), ended_at = NULL,
    attempt = attempt + 1, leased_until = now() + interval '5 seconds', worker = %s
WHERE id = (
    SELECT id FROM queue.jobs
    WHERE status = 'queued' OR (status IN ('running', 'asking') AND leased_until < now())
    ORDER BY id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING id, attempt, title, path
"""

# attempt: a worker that lost its lease must not overwrite the next worker's progress.
ADVANCE = """
UPDATE queue.jobs
SET progress = %(progress)s, stage = %(stage)s, leased_until = now() + interval '5 seconds'
WHERE id = %(id)s AND attempt = %(attempt)s AND status = 'running'
"""

ASK = """
UPDATE queue.jobs
SET status = 'asking', question = %(question)s, leased_until = now() + interval '5 seconds',
    asked_until = coalesce(asked_until, now() + interval '10 minutes')
WHERE id = %(id)s AND attempt = %(attempt)s AND status IN ('running', 'asking')
RETURNING answer, asked_until < now()
"""

GO_ON = """
UPDATE queue.jobs
SET status = 'running', question = NULL
WHERE id = %(id)s AND attempt = %(attempt)s AND status = 'asking'
"""

COMPLETE = """
UPDATE queue.jobs
SET status = 'completed', progress = 1, message = %(message)s, ended_at = now(), leased_until = NULL
WHERE id = %(id)s AND attempt = %(attempt)s AND status = 'running'
"""

FAIL = """
UPDATE queue.jobs
SET status = 'failed', error = %(error)s, ended_at = now(), leased_until = NULL
WHERE id = %(id)s AND attempt = %(attempt)s AND status = 'running'
"""

logger = logging.getLogger("worker")
configuration = Configuration.from_env()


class JobLostError(Exception):
    """The row was deleted or cancelled, or another worker has it."""


class Attempt:
    """Attempt at a job; it ends when another worker has the row."""

    def __init__(
        self, connection: psycopg.Connection, job: int, attempt: int, title: str, path: str
    ) -> None:
        self._connection = connection
        self._row = {"id": job, "attempt": attempt}
        self._title = title
        self._path = Path(path)

    def run(self) -> None:
        """Process the file, and set the row to `completed` or `failed`."""
        try:
            self._process()
        except JobLostError:
            logger.warning("job lost: id=%(id)s attempt=%(attempt)s", self._row)

    def _process(self) -> None:
        try:
            size = size_of(self._path)

            def report(stage: str, done: int) -> None:
                self._write(ADVANCE, stage=stage, progress=done / (size * len(STAGES)))

            throttled = at_intervals(PROGRESS_INTERVAL, report)
            rate = configuration.bytes_per_second
            result = read_in_stages(self._path, size, rate=rate, report=throttled)
            message = save(summary(result), self._title, ask=self._ask)
        except (JobLostError, psycopg.Error):
            raise
        except Exception as error:
            # Every job must end: its user waits for the result.
            self._write(FAIL, error=str(error) or type(error).__name__)
        else:
            self._write(COMPLETE, message=message)

    def _ask(self, text: str, choices: list[str]) -> str:
        """Wait for the answer to a question. One that an earlier attempt got is used again."""
        question = Jsonb({"id": "overwrite", "text": text, "choices": choices})
        while True:
            answer, is_late = self._write(ASK, question=question).fetchone()
            if answer is not None or is_late:
                break
            time.sleep(POLL_INTERVAL)
        self._write(GO_ON)
        if answer is None:
            raise TimeoutError("No answer within 10 minutes: add the file again")
        return answer

    def _write(self, statement: LiteralString, **columns: object) -> psycopg.Cursor:
        cursor = self._connection.execute(statement, {**self._row, **columns})
        if cursor.rowcount == 0:
            raise JobLostError
        return cursor


def main() -> None:
    """Process one job after the other."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        while True:
            if row := connection.execute(TAKE, [os.getpid()]).fetchone():
                Attempt(connection, *row).run()
            else:
                time.sleep(POLL_INTERVAL)


if __name__ == "__main__":
    main()
