"""SQLite: log and feed in one file, for the processes of one machine."""

from realtime_bridge_backends.sqlite.backend import SQLiteBackend
from realtime_bridge_backends.sqlite.timing import SQLiteTiming

__all__ = ["SQLiteBackend", "SQLiteTiming"]
