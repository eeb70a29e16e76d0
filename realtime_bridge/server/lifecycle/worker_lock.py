"""Lock against a second worker process, each of which would have its own log in memory."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from realtime_bridge.errors import ConfigurationError

try:
    import fcntl
except ModuleNotFoundError:
    fcntl = None  # type: ignore[assignment]

_OURS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
"""Open flags; O_NOFOLLOW, as any local user may put a link into the temporary directory."""


_held: set[Path] = set()
"""Locks that this process holds."""


@contextmanager
def only_worker(prefix: str, *, is_worker: Callable[[], bool] | None = None) -> Iterator[None]:
    """Hold a lock that the other workers of the same parent process cannot acquire.

    Under `gunicorn -w 4` each worker would have its own log in memory. A client would then
    silently miss the events of the other workers.

    Args:
        prefix: the application's prefix.
        is_worker: returns whether the process has siblings; detected by default.

    Raises:
        ConfigurationError: another worker holds the lock.

    """
    # Windows has no such lock: a second worker stays undetected there.
    if fcntl is None or not (is_worker or has_sibling_workers)():
        yield
        return
    # The parent's id: two servers of one application side by side are no workers of each other.
    name = f"realtime-bridge-{os.getuid()}-{os.getppid()}-{prefix}.lock"
    path = Path(tempfile.gettempdir()) / name
    if path in _held:
        # Two bridges of one process: no worker of its own holds the lock.
        yield
        return
    with os.fdopen(os.open(path, _OURS, 0o600), "w") as file:
        try:
            # The kernel releases a flock when its process ends, killed or not.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"Another worker of process {os.getppid()} has its own log in memory, so events "
                "would be lost: run one worker, or set REALTIME_LOG=sqlite and "
                "REALTIME_SQLITE_PATH, so that all workers share a log"
            ) from None
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)
            path.unlink(missing_ok=True)


def has_sibling_workers(command_line: Callable[[str], bytes | None] | None = None) -> bool:
    """Return whether this process is one of several workers of its parent.

    Args:
        command_line: returns the command line of a process id; read from /proc by default.

    """
    read = command_line or _command_line
    # uvicorn spawns workers by multiprocessing; gunicorn forks them from its arbiter.
    if multiprocessing.parent_process() is not None or "gunicorn.arbiter" in sys.modules:
        return True
    # A plain fork without exec keeps the parent's command line.
    own = read("self")
    return own is not None and own == read(str(os.getppid()))


def _command_line(pid: str) -> bytes | None:
    # /proc is Linux's; elsewhere plain forks stay undetected.
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
