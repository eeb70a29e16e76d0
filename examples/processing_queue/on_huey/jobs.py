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

State = Literal["queued", "started", "completed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Job that processes a file, with its state and progress."""

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
        """Progress from 0 to 100; only a completed job has 100."""
        if self.state == "completed":
            return 100.0
        return self.bytes_done * 1000 // self.bytes_total / 10 if self.bytes_total else 0.0

    @property
    def ended(self) -> bool:
        """True after the last change of state."""
        return self.state in ("completed", "failed")

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
        }


COLUMNS = [column.name for column in fields(Job)]


class Jobs:
    """Table of jobs; several threads and processes may use it at the same time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS job ({', '.join(COLUMNS)}, PRIMARY KEY (id))"
            )

    def save(self, job: Job) -> None:
        """Insert or replace a job."""
        row = asdict(job) | {"result": json.dumps(job.result)}
        placeholders = ", ".join(f":{column}" for column in COLUMNS)
        with self._connection() as connection:
            connection.execute(f"REPLACE INTO job VALUES ({placeholders})", row)

    def get(self, job_id: str) -> Job | None:
        """Return the job with an id, or None."""
        jobs = self._select("id = ?", job_id)
        return jobs[0] if jobs else None

    def of(self, user: str) -> list[Job]:
        """Return all jobs of a user, the newest first."""
        return self._select("user = ?", user)

    def unfinished(self) -> list[Job]:
        """Return the jobs that were started and have not ended."""
        return self._select("state = ?", "started")

    def _select(self, condition: str, value: str) -> list[Job]:
        query = f"SELECT * FROM job WHERE {condition} ORDER BY created DESC"
        with self._connection() as connection:
            return [_job(row) for row in connection.execute(query, (value,))]

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection


def _job(row: sqlite3.Row) -> Job:
    return Job(**dict(row) | {"result": json.loads(row["result"])})
