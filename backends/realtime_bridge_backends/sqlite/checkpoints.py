"""Checkpoints: the write-ahead log, written back to the file between two groups of appends."""

import logging
import sqlite3
from pathlib import Path

from realtime_bridge_backends.sqlite.database import JOURNAL_BYTES

_logger = logging.getLogger("realtime_bridge.backend")

CHECKPOINT_BYTES = 4 * 1024 * 1024
"""Bytes that this process writes between two checkpoints."""

RETRY_BYTES = 256 * 1024
"""Bytes that this process writes until it looks whether all have written over 16 MiB.

Each other writer may be in the way of a TRUNCATE: with four of them and 1 MiB, the write-ahead log
had 21 MiB.
"""

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
        """Write back what is due: with `idle` from 4 MiB on, else only from 16 MiB on.

        Raises:
            sqlite3.Error: the disk failed.

        """
        is_too_large = self._written >= RETRY_BYTES and self.wal_bytes() > JOURNAL_BYTES
        if is_too_large or self._written >= CHECKPOINT_BYTES:
            self.run(connection, idle=idle)

    def run(self, connection: sqlite3.Connection, *, idle: bool) -> None:
        """Write back what all processes have written; without `idle` only from 16 MiB on.

        Raises:
            sqlite3.Error: the disk failed.

        """
        is_too_large = self.wal_bytes() > JOURNAL_BYTES
        if not idle and not is_too_large:
            return
        # Without the write lock: the disk may take a second, and little is left for TRUNCATE.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        if is_too_large:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
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
