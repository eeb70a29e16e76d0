"""Settings of this application from the environment; the bridge reads `REALTIME_…` itself."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MIB = 1024 * 1024

USER = "demo"
"""Only user; the page subscribes to `user-demo`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Data folder and limits.

    Args:
        data: folder of uploads, jobs and queue.
        upload_limit: largest upload, in bytes.
        bytes_per_second: reading speed of a job, so that people can watch it; 0 is no limit.
        redis_url: URL of the Redis with the queue; None keeps it in a file of `data`.

    """

    data: Path
    upload_limit: int
    bytes_per_second: int
    redis_url: str | None

    @classmethod
    def from_env(cls) -> Self:
        """Read the environment, and create the data folder."""
        data = Path(os.environ.get("QUEUE_DATA", "queue-data")).resolve()
        data.mkdir(parents=True, exist_ok=True)
        return cls(
            data=data,
            upload_limit=int(os.environ.get("QUEUE_UPLOAD_LIMIT", 2048 * MIB)),
            bytes_per_second=int(os.environ.get("QUEUE_BYTES_PER_SECOND", 16 * MIB)),
            redis_url=os.environ.get("REDIS_URL"),
        )
