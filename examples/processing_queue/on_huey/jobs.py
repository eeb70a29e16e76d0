"""Jobs and their progress: the application's own state, in a table of SQLite."""

import json
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from stages import STAGES

State = Literal["queued", "started", "asking", "lost", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Job that processes a file, with its state and progress.

    `attempt` and `worker` are the number and the process of the latest run. `cancelling` and
    `answer` are requests of people: the web application writes them, and the worker reads them.
    """

    user: str
    name: str
    path: str
    size: int
    id: str = field(default_factory=lambda: uuid4().hex)
    created: float = field(default_factory=time.time)
    state: State = "queued"
    stage: str | None = None
    bytes_done: int = 0
    result: dict[str, Any] | None = None
    error: str | None = None
    message: str | None = None
    question: dict[str, Any] | None = None
    attempt: int = 0
    worker: int | None = None
    cancelling: bool = False
    answer: str | None = None

    @property
    def channel(self) -> str:
        """Channel of the job's user."""
        return f"user-{self.user}"

    @property
    def bytes_total(self) -> int:
        """Bytes that the job reads: each stage reads the whole file."""
        return self.size * len(STAGES)

    @property
    def percent(self) -> float:
        """Progress from 0 to 100."""
        if self.state == "completed":
            return 100.0
        return self.bytes_done * 1000 // self.bytes_total / 10 if self.bytes_total else 0.0

    @property
    def ended(self) -> bool:
        """True after the last change of state."""
        return self.state in ENDS

    def view(self) -> dict[str, Any]:
        """Return the whole state for the page, so that an event replaces all earlier ones."""
        return {
            "job": self.id,
            "name": self.name,
            "size": self.size,
            "created": self.created,
            "state": self.state,
            "stage": self.stage,
            "stages": list(STAGES),
            "percent": self.percent,
            "bytes_done": self.bytes_done,
            "bytes_total": self.bytes_total,
            "result": self.result,
            "error": self.error,
            "message": self.message,
            "question": self.question,
            "attempt": self.attempt,
            "cancelling": self.cancelling and not self.ended,
            # The bridge refuses the cancel of a job without it.
            "cancellable": not self.ended and self.state != "lost",
        }


ENDS = ("completed", "failed", "cancelled")
COLUMNS = [column.name for column in fields(Job)]
REQUESTS = ("cancelling", "answer")
JSON_COLUMNS = ("result", "question")
DEFAULTS = {"attempt": "0", "cancelling": "0"}
"""Values of the rows of an earlier version, where they are not NULL."""

# One statement: of two tasks with the same job, one gets it.
TAKE = """
UPDATE job SET state = 'started', stage = NULL, bytes_done = 0,
    attempt = attempt + 1, worker = :worker
WHERE id = :id AND state IN ('queued', 'lost') RETURNING *
"""


class Jobs:
    """Table of jobs; several threads and processes may use it at the same time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            # One transaction: the server and the worker start at the same time.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS job ({', '.join(COLUMNS)}, PRIMARY KEY (id))"
            )
            _add_missing_columns(connection)
            connection.execute("COMMIT")

    def save(self, job: Job) -> None:
        """Insert or update a job; an update leaves the requests of people as they are."""
        row = asdict(job) | {name: json.dumps(getattr(job, name)) for name in JSON_COLUMNS}
        values = ", ".join(f":{column}" for column in COLUMNS)
        changes = ", ".join(f"{name} = :{name}" for name in COLUMNS if name not in REQUESTS)
        with self._connection() as connection:
            connection.execute(
                f"INSERT INTO job ({', '.join(COLUMNS)}) VALUES ({values}) "
                f"ON CONFLICT (id) DO UPDATE SET {changes}",
                row,
            )

    def take(self, job_id: str, *, worker: int) -> Job | None:
        """Begin an attempt, and return the job; None if it has ended or another task has it."""
        with self._connection() as connection:
            rows = connection.execute(TAKE, {"id": job_id, "worker": worker}).fetchall()
        return _job(rows[0]) if rows else None

    def cancel(self, job_id: str) -> None:
        """Request the end of a job; its worker reads the request."""
        with self._connection() as connection:
            connection.execute("UPDATE job SET cancelling = 1 WHERE id = ?", [job_id])

    def answer(self, job_id: str, value: str) -> None:
        """Write the answer to a job's question, for its worker."""
        with self._connection() as connection:
            connection.execute("UPDATE job SET answer = ? WHERE id = ?", [value, job_id])

    def get(self, job_id: str) -> Job | None:
        """Return the job with an id, or None."""
        jobs = self._select("id = ?", job_id)
        return jobs[0] if jobs else None

    def of(self, user: str) -> list[Job]:
        """Return all jobs of a user, the newest first."""
        return self._select("user = ?", user)

    def unfinished(self) -> list[Job]:
        """Return the jobs that have not ended, the oldest first."""
        return self._select("state NOT IN (?, ?, ?)", *ENDS)[::-1]

    def _select(self, condition: str, *values: str) -> list[Job]:
        query = f"SELECT * FROM job WHERE {condition} ORDER BY created DESC"
        with self._connection() as connection:
            return [_job(row) for row in connection.execute(query, values)]

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection


def _add_missing_columns(connection: sqlite3.Connection) -> None:
    """Add the columns that a table of an earlier version does not have."""
    existing = {row["name"] for row in connection.execute("PRAGMA table_info(job)")}
    for name in COLUMNS:
        if name not in existing:
            default = "'null'" if name in JSON_COLUMNS else DEFAULTS.get(name, "NULL")
            connection.execute(f"ALTER TABLE job ADD COLUMN {name} DEFAULT {default}")


def _job(row: sqlite3.Row) -> Job:
    values = {name: json.loads(row[name]) for name in JSON_COLUMNS}
    return Job(**dict(row) | values | {"cancelling": bool(row["cancelling"])})
