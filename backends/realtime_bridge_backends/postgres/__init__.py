"""A log and feed in PostgreSQL, that joins an application's own transactions."""

from realtime_bridge_backends.postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]
