"""PostgreSQL: log and feed; events can join an application's own transactions."""

from realtime_bridge_backends.postgres.backend import PostgresBackend
from realtime_bridge_backends.postgres.timing import PostgresTiming

__all__ = ["PostgresBackend", "PostgresTiming"]
