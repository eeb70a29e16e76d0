"""Conversion of SQLite's errors into ours, each with one thing to do."""

import sqlite3
from collections.abc import Callable

from realtime_bridge.errors import BackendUnavailableError, ConfigurationError, PublishError

_PRIMARY = 0xFF
"""Bits of the primary code of SQLite's extended result codes."""

_HINTS = {
    sqlite3.SQLITE_BUSY: "another process keeps the write lock: end it if it is stopped",
    sqlite3.SQLITE_FULL: "free space on the disk",
    sqlite3.SQLITE_IOERR: "check the disk, and the space on it",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable for this user",
    sqlite3.SQLITE_CANTOPEN: "check that the folder exists and that this user may write to it",
    sqlite3.SQLITE_PERM: "make the file and its folder writable for this user",
}
"""Hints for errors that pass when their cause does."""

_FINAL_HINTS = {
    sqlite3.SQLITE_CORRUPT: "stop all processes and move the file away: all channels begin again",
    sqlite3.SQLITE_NOTADB: "choose another path; if it was this log, stop all processes and move "
    "the file away",
}
"""Hints for errors that stay: the file is damaged, or another program's."""


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection held a lock."""
    return _primary_code(error) == sqlite3.SQLITE_BUSY


def is_final(error: BaseException) -> bool:
    """Return whether the file is damaged or another program's: another attempt fails too."""
    if isinstance(error, sqlite3.Error):
        return _primary_code(error) in _FINAL_HINTS
    return isinstance(error, ConfigurationError)


def to_publish_error(error: Exception, name: str) -> PublishError:
    """Return the error to raise: what failed with which file, and what to do.

    Args:
        error: the error.
        name: the name of the log, with the file.

    """
    if isinstance(error, PublishError):
        return error
    create: Callable[[str], PublishError] = BackendUnavailableError
    if isinstance(error, sqlite3.Error):
        code = _primary_code(error)
        hint = _HINTS.get(code, "see the message of SQLite")
        if code in _FINAL_HINTS:
            create, hint = PublishError, _FINAL_HINTS[code]
    else:
        hint = "check the file and its folder"
    return create(f"{name} failed ({str(error) or type(error).__name__}): {hint}")


def _primary_code(error: sqlite3.Error) -> int:
    # Errors of Python's module itself have no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
