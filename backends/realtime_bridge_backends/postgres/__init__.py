"""PostgreSQL: log and feed; events can join an application's own transactions."""

from realtime_bridge_backends.postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]
