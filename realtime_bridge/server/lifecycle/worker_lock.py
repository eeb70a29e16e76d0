"""A log in memory has one server process: refuse the second worker that would split it."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from realtime_bridge.errors import ConfigurationError

_OURS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
"""Never through a link that somebody else put there."""


@contextmanager
def only_worker(prefix: str) -> Iterator[None]:
    """Hold a lock that the other workers of the same parent process cannot get.

    Each would have a log of its own, and a client would hear only what its own worker appended:
    the classic silent loss under `gunicorn -w 4`. The lock ends with the process.

    Raises:
        ConfigurationError: another worker has it.

    """
    if not _is_worker():
        yield
        return
    import fcntl

    name = f"realtime-bridge-{os.getuid()}-{os.getppid()}-{prefix}.lock"
    path = Path(tempfile.gettempdir()) / name
    with os.fdopen(os.open(path, _OURS, 0o600), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                "Another worker of this server has a log in memory, and each would hear only "
                "its own events: run one worker, or set REALTIME_LOG to a shared log"
            ) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_worker() -> bool:
    """Tell whether a parent process may run several of us: spawned by it, or forked from it."""
    if multiprocessing.parent_process() is not None or "gunicorn.arbiter" in sys.modules:
        return True
    ours = _command_line("self")
    return ours is not None and ours == _command_line(str(os.getppid()))


def _command_line(pid: str) -> bytes | None:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
