"""What this application is told by its environment; the bridge reads its own `REALTIME_*`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MIB = 1024 * 1024

USER = "demo"
"""The one user; the page listens to `user-demo`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Where the data is, and what one upload and one job may take.

    Args:
        data: the folder of uploads, jobs and queue.
        upload_limit: bytes of one upload.
        bytes_per_second: what a job reads at most, so that people can watch it; 0 is no limit.
        redis_url: where the queue is; without it, in a file of `data`.

    """

    data: Path
    upload_limit: int
    bytes_per_second: int
    redis_url: str | None

    @classmethod
    def from_env(cls) -> Self:
        """Read the environment, and make the data folder."""
        data = Path(os.environ.get("QUEUE_DATA", "queue-data")).resolve()
        data.mkdir(parents=True, exist_ok=True)
        return cls(
            data=data,
            upload_limit=int(os.environ.get("QUEUE_UPLOAD_LIMIT", 2048 * MIB)),
            bytes_per_second=int(os.environ.get("QUEUE_BYTES_PER_SECOND", 16 * MIB)),
            redis_url=os.environ.get("REDIS_URL"),
        )
