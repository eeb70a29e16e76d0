"""Checkpoints: the write-ahead log, written back to the file between two groups of appends."""

import logging
import sqlite3
from pathlib import Path

_logger = logging.getLogger("realtime_bridge.backend")

CHECKPOINT_BYTES = 4 * 1024 * 1024
"""Bytes that this process writes between two checkpoints."""

LARGE_BYTES = 8 * 1024 * 1024
"""Size of the write-ahead log that several writers cause: they go on while one writes it back.

Four of them write half as much again until the disk has these, and until a TRUNCATE finds none of
them in a transaction: from 16 MiB on, the log had 24.
"""

RETRY_BYTES = 256 * 1024
"""Bytes that this process writes until it looks at that size again."""

WARN_BYTES = 64 * 1024 * 1024
"""Size of the write-ahead log that a reader must have caused: no checkpoint passes it."""


class Checkpoints:
    """Checkpoints of one process, so that no append waits for the disk.

    Args:
        path: the file.

    """

    def __init__(self, path: Path) -> None:
        self._wal = Path(f"{path}-wal")
        self._written = 0
        self._has_warned = False

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        try:
            return self._wal.stat().st_size
        except OSError:
            return 0

    def add(self, written_bytes: int) -> None:
        """Count the bytes of a transaction."""
        self._written += written_bytes

    def run_due(self, connection: sqlite3.Connection, *, idle: bool) -> None:
        """Write back what is due: with `idle` from 4 MiB on, else only from 8 MiB on.

        Raises:
            sqlite3.Error: the disk failed.

        """
        is_too_large = self._written >= RETRY_BYTES and self.wal_bytes() > LARGE_BYTES
        if is_too_large or self._written >= CHECKPOINT_BYTES:
            self.run(connection, idle=idle)

    def run(self, connection: sqlite3.Connection, *, idle: bool) -> None:
        """Write back what all processes have written; without `idle` only from 8 MiB on.

        Raises:
            sqlite3.Error: the disk failed.

        """
        is_too_large = self.wal_bytes() > LARGE_BYTES
        if not idle and not is_too_large:
            return
        # PASSIVE writes without the lock, since the disk may take a second. Another one writes what
        # came meanwhile, so that little is left for TRUNCATE, for which all writers wait.
        modes = ("PASSIVE", "PASSIVE", "TRUNCATE") if is_too_large else ("PASSIVE",)
        for mode in modes:
            connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        self._written = 0
        self._warn(self.wal_bytes())

    def _warn(self, size: int) -> None:
        if size > WARN_BYTES and not self._has_warned:
            _logger.warning(
                "write-ahead log not written back path=%s bytes=%d: end the program that keeps "
                "a read transaction open",
                self._wal,
                size,
            )
        self._has_warned = size > WARN_BYTES
