"""Bells: one datagram socket for each listener, which a commit of any process rings."""

import asyncio
import hashlib
import os
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from realtime_bridge.model import ids

MAX_PATH = 100
"""Bytes of a socket's path, at most: the address of the kernel has 108, macOS 104."""

FRESH_SECONDS = 0.1
"""Age at which a folder's time of change can be trusted: the kernel's clock of files is coarse."""

_FOLDER_MODE = 0o700
_NAME_BYTES = 32


def folder_of(path: Path) -> Path:
    """Return the folder of a log's bells."""
    folder = Path(f"{path}-bells")
    if len(os.fsencode(folder)) + _NAME_BYTES <= MAX_PATH:
        return folder
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"rb-{digest}")


class Bells:
    """Bells of all listeners, rung by one thread.

    Args:
        path: the path of the log.

    """

    def __init__(self, path: Path) -> None:
        self._folder = folder_of(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._paths: list[str] = []
        self._changed_at = -1
        self._is_fresh = True

    def ring(self) -> None:
        """Wake every listener."""
        for path in self._current():
            try:
                self._socket.sendto(b"!", path)
            except BlockingIOError:
                continue  # datagrams wait for it: it is awake
            except OSError:
                self._remove(path)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _current(self) -> list[str]:
        try:
            changed_at = self._folder.stat().st_mtime_ns
            if self._is_fresh or changed_at != self._changed_at:
                self._paths = [entry.path for entry in os.scandir(self._folder)]
                self._changed_at = changed_at
                self._is_fresh = time.time() - changed_at / 1e9 < FRESH_SECONDS
        except FileNotFoundError:
            self._paths = []
        return self._paths

    def _remove(self, path: str) -> None:
        # Refused: the process of the listener is gone, and did not remove its socket.
        self._is_fresh = True
        with suppress(OSError):
            Path(path).unlink()


class Bell:
    """Bell of one listener, in its event loop.

    Args:
        path: the path of the log.

    """

    def __init__(self, path: Path) -> None:
        self._folder = folder_of(path)
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._path = self._folder / f"{os.getpid()}-{ids.nonce()}"

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            self._socket.setblocking(False)
            self._socket.bind(str(self._path))
        except BaseException:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._on_ring)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    async def wait(self, seconds: float) -> None:
        """Wait until the bell rings, for a time at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()

    def _on_ring(self) -> None:
        with suppress(BlockingIOError):
            while self._socket.recv(1):
                pass
        self._rung.set()
