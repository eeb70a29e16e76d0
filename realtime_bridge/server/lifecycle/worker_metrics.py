"""Metrics of all worker processes of one server, so that any of them reports all.

Prometheus reaches one process per scrape, which one is up to the kernel. Each worker answers its
siblings over a Unix socket in a folder that is named after their parent process.
"""

import asyncio
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model import ids

_logger = logging.getLogger("realtime_bridge.server")

ANSWER_SECONDS = 1.0
"""Time for a sibling to answer; Prometheus ends a scrape after 10 s by default."""


class WorkerMetrics:
    """Exchange of metrics between the workers of one parent process.

    Args:
        prefix: the application's prefix.
        report: returns this worker's metrics, encoded.

    """

    def __init__(self, prefix: str, report: Callable[[], bytes]) -> None:
        self.name: str = str(os.getpid())
        # A Unix socket's path has at most 104 bytes on macOS, and a prefix may have 64.
        name = hashlib.sha256(prefix.encode()).hexdigest()[:8]
        self._folder = Path(tempfile.gettempdir(), f"rtb-{os.getuid()}-{os.getppid()}-{name}")
        self._socket = self._folder / f"{os.getpid()}-{ids.epoch()}"
        self._report = report

    async def serve(self) -> None:
        """Answer the siblings until cancelled.

        Raises:
            ConfigurationError: the folder belongs to another user.

        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        _check_private(self._folder)
        server = await asyncio.start_unix_server(self._answer, self._socket)
        try:
            async with server:
                await server.serve_forever()
        finally:
            self._socket.unlink(missing_ok=True)
            with suppress(OSError):  # the last worker removes the folder
                self._folder.rmdir()

    async def collect(self) -> dict[str, bytes | None]:
        """Return the report of each other worker by its process id; None for a silent one."""
        paths = [path for path in self._folder.glob("*") if path != self._socket]
        answers = await asyncio.gather(*map(_ask, paths))
        names = [path.name.partition("-")[0] for path in paths]
        return dict(zip(names, answers, strict=True))

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._report())
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _ask(path: Path) -> bytes | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return await reader.read()
            finally:
                writer.close()
    except (ConnectionRefusedError, FileNotFoundError):
        _remove(path)  # the worker was killed
    except (OSError, TimeoutError) as error:
        _logger.warning("metrics of a worker are missing: worker=%s error=%r", path.name, error)
    return None


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _check_private(folder: Path) -> None:
    """Check that no other user may write here: each may create a name in the temporary folder."""
    status = folder.lstat()
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if not is_ours or status.st_mode & 0o077:
        raise ConfigurationError(
            f"{folder} is not a private folder of this user: remove it, or set another TMPDIR"
        )


def can_exchange() -> bool:
    """Return whether this system has users, and the running event loop Unix sockets."""
    # Windows has neither. The loop of a simulation has no sockets at all.
    without = asyncio.AbstractEventLoop.create_unix_server
    has_sockets = type(asyncio.get_running_loop()).create_unix_server is not without
    return has_sockets and hasattr(os, "getuid")
