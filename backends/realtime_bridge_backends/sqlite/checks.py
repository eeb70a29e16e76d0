"""Conditions that a path must meet before SQLite opens the log there."""

import os
import stat
import sys
from pathlib import Path

from realtime_bridge.errors import ConfigurationError
from realtime_bridge_backends.sqlite.filesystems import read_mountinfo, refused_filesystem

MIN_VERSION = (3, 37, 0)
"""The first SQLite with STRICT tables; RETURNING is older."""

EVERYONE_WRITES = stat.S_IWOTH

SUFFIXES = ("", "-wal", "-shm", "-lock")
"""Endings of the names of a log's files."""


def check_path(path: Path) -> None:
    """Check that a log can be at a path; open none of its files.

    Args:
        path: path of the database.

    Raises:
        ConfigurationError: the path is relative, its directory is missing or cannot be written,
            a file or the directory is writable by everyone, shared memory fails on the file
            system, SQLite is too old, or the system is Windows.

    """
    check_system()
    if not path.is_absolute():
        raise ConfigurationError(
            f"{str(path)!r} is relative, and servers and workers start in different directories: "
            "write the whole path, such as REALTIME_SQLITE_PATH=/var/lib/app/log.db"
        )
    _check_directory(path.parent)
    _check_modes(path)
    if mount := refused_filesystem(path.resolve(), read_mountinfo()):
        raise ConfigurationError(
            f"{path} is on {mount}, where SQLite's shared memory does not work: choose a path on "
            "a disk of this machine, or another log (REALTIME_REDIS_URL, REALTIME_POSTGRES_URL)"
        )


def check_system() -> None:
    """Check that this system and its SQLite can have a log in a file.

    Raises:
        ConfigurationError: the system is Windows, or SQLite is too old.

    """
    if sys.platform == "win32":
        raise ConfigurationError(
            "The log in a SQLite file needs Linux or macOS: set REALTIME_REDIS_URL or "
            "REALTIME_POSTGRES_URL, or REALTIME_LOG=memory"
        )
    import sqlite3  # only where a path is set: a cold start without one does not pay for it

    check_version(sqlite3.sqlite_version_info)


def check_version(version: tuple[int, ...]) -> None:
    """Check the version of SQLite.

    Raises:
        ConfigurationError: it is too old.

    """
    if version < MIN_VERSION:
        raise ConfigurationError(
            f"SQLite {'.'.join(map(str, version))} is too old for the log: use a Python with "
            f"SQLite {MIN_VERSION[0]}.{MIN_VERSION[1]} or later"
        )


def _check_directory(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigurationError(
            f"{folder} is not a directory, so no log can be made there: "
            f"create it with `install -d -m 700 {folder}` for the user of the server"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"{folder} cannot be written, and SQLite makes files beside the log: give the "
            f"directory to user {os.getuid()}"
        )


def _check_modes(path: Path) -> None:
    # In such a directory, another user can put a file of the log before SQLite makes it.
    files = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    for place in (path.parent, *filter(Path.exists, files)):
        if place.stat().st_mode & EVERYONE_WRITES:
            raise ConfigurationError(
                f"{place} is writable by everyone, so any user could publish: run "
                f"`chmod o-w {place}`, or choose a directory of the application's own"
            )
