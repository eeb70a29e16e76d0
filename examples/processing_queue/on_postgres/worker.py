"""The worker: takes a row, works, and writes rows. It knows PostgreSQL, and no broadcaster.

Any number of them may run. One that dies leaves a row whose lease ends, and another takes that.
"""

import logging
import os
import time
from pathlib import Path
from typing import LiteralString

import psycopg

from configuration import Configuration
from reading import at_intervals, read_in_stages, size_of, summary
from stages import STAGES

PROGRESS_INTERVAL = 0.25
LOOK_INTERVAL = 0.5

TAKE = """
UPDATE queue.jobs
SET status = 'running', progress = 0, stage = NULL, message = NULL, error = NULL,
    started_at = now(), ended_at = NULL,
    attempt = attempt + 1, leased_until = now() + interval '5 seconds'
WHERE id = (
    SELECT id FROM queue.jobs
    WHERE status = 'queued' OR (status = 'running' AND leased_until < now())
    ORDER BY id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING id, attempt, path
"""

ADVANCE = """
UPDATE queue.jobs
SET progress = %(progress)s, stage = %(stage)s, leased_until = now() + interval '5 seconds'
WHERE id = %(id)s AND attempt = %(attempt)s AND status = 'running'
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


class TakenAwayError(Exception):
    """The row is gone, or cancelled, or another worker's."""


class Attempt:
    """One attempt at one job, which ends as soon as its row is not ours any more."""

    def __init__(self, connection: psycopg.Connection, job: int, attempt: int, path: str) -> None:
        self._connection = connection
        self._row = {"id": job, "attempt": attempt}
        self._path = Path(path)

    def run(self) -> None:
        """Process the file from the start, and end in `completed` or `failed`."""
        try:
            self._process()
        except TakenAwayError:
            logger.warning("job %(id)s was taken away from attempt %(attempt)s", self._row)

    def _process(self) -> None:
        try:
            size = size_of(self._path)

            def tell(stage: str, done: int) -> None:
                self._write(ADVANCE, stage=stage, progress=done / (size * len(STAGES)))

            told = at_intervals(PROGRESS_INTERVAL, tell)
            rate = configuration.bytes_per_second
            result = read_in_stages(self._path, size, rate=rate, report=told)
        except (TakenAwayError, psycopg.Error):
            raise
        except Exception as error:
            # Whatever it was, people wait for an end.
            self._write(FAIL, error=str(error) or type(error).__name__)
        else:
            self._write(COMPLETE, message=summary(result))

    def _write(self, statement: LiteralString, **columns: object) -> None:
        if self._connection.execute(statement, {**self._row, **columns}).rowcount == 0:
            raise TakenAwayError


def main() -> None:
    """Take one row after the other, for ever."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        while True:
            if row := connection.execute(TAKE).fetchone():
                Attempt(connection, *row).run()
            else:
                time.sleep(LOOK_INTERVAL)


if __name__ == "__main__":
    main()
