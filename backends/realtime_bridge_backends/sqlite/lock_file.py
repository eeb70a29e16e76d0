"""File beside the log that is locked while a process uses the log, and has its last commit."""

import os
from pathlib import Path
from typing import NamedTuple

_BYTES = 128


class Progress(NamedTuple):
    """Lineage of the file, and the number of its last commit."""

    lineage: str
    commits: int


class LockFile:
    """Lock of all processes that use a log: shared while it is open, exclusive at its edges.

    It is a file of its own: each close of a descriptor of the database would drop SQLite's locks.

    Args:
        path: the path of the log.

    """

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}-lock")
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_lock(self, *, exclusive: bool) -> bool:
        """Lock the file, or change its lock; return whether that is done.

        A change is two steps: on a failure, the former lock may be gone.
        """
        import fcntl  # Windows has none

        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Give the lock up."""
        import fcntl

        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def read(self) -> Progress | None:
        """Return what the last process wrote; None in a new file."""
        match os.pread(self._descriptor, _BYTES, 0).split():
            case [lineage, commits] if commits.isdigit():
                return Progress(lineage.decode(errors="replace"), int(commits))
            case _:
                return None

    def write(self, progress: Progress) -> None:
        """Store the progress, always of the same length: a write over another one is whole."""
        text = f"{progress.lineage} {progress.commits:020d}\n"
        os.pwrite(self._descriptor, text.encode(), 0)

    def remove_unused(self) -> None:
        """Remove the file if no process has ever used the log: its path is another program's."""
        if self.try_lock(exclusive=True) and self.read() is None:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; in a forked child, the lock of the parent stays."""
        os.close(self._descriptor)
