"""SQLite: log and feed in one file, for the processes of one machine."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_bridge_backends.sqlite.backend import SQLiteBackend as SQLiteBackend
    from realtime_bridge_backends.sqlite.settings import SQLiteSettings as SQLiteSettings
    from realtime_bridge_backends.sqlite.timing import SQLiteTiming as SQLiteTiming

_HOMES = {"SQLiteBackend": "backend", "SQLiteSettings": "settings", "SQLiteTiming": "timing"}

__all__ = ["SQLiteBackend", "SQLiteSettings", "SQLiteTiming"]


def __getattr__(name: str) -> object:
    """Import a class on first use, so that the settings load without `sqlite3`."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
