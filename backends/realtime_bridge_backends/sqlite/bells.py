"""Bells: one datagram socket for each listener, which a commit of any process rings."""

import asyncio
import errno
import hashlib
import logging
import os
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from realtime_bridge.model import ids

MAX_PATH = 100
"""Bytes of a socket's path, at most: the address of the kernel has 108, macOS 104."""

RING = b"!"
"""Datagram that wakes a listener; any other one is a message."""

MAX_MESSAGE = 256 * 1024
"""Bytes of a datagram, at most: the kernel's buffer for one is smaller by default."""

FULL_WAITS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Seconds between attempts to send to a listener that has no room: the kernel queues few
datagrams, and a listener takes all of them in each turn of its loop."""

FRESH_SECONDS = 0.1
"""Age at which a folder's time of change can be trusted: the kernel's clock of files is coarse."""

_logger = logging.getLogger("realtime_bridge.backend")

_FOLDER_MODE = 0o700
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NAME_BYTES = 32


def folder_of(path: Path) -> Path:
    """Return the folder of a log's bells."""
    folder = Path(f"{path}-bells")
    if len(os.fsencode(folder)) + _NAME_BYTES <= MAX_PATH:
        return folder
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"rb-{digest}")


def make_folder(path: Path) -> Path:
    """Return the folder of a log's bells, made where it is missing.

    Raises:
        OSError: it cannot be made, or other users can change it.

    """
    folder = folder_of(path)
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    if not is_private(folder.lstat(), _owners(path)):
        raise PermissionError(errno.EPERM, "other users can change it", str(folder))
    return folder


def is_private(status: os.stat_result, owners: Collection[int]) -> bool:
    """Return whether only these users can change a folder; the status follows no link.

    Any user of the machine can put a folder, or a link to one, where temporary files are.
    """
    is_folder = stat.S_ISDIR(status.st_mode)
    return is_folder and status.st_uid in owners and not status.st_mode & _OTHERS_WRITE


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # other listeners have bells there
        folder.rmdir()


def _owners(path: Path) -> set[int]:
    """Return the users that may own the bells: this one, and the owner of the log."""
    return {os.geteuid(), path.stat().st_uid}


class Bells:
    """Bells of all listeners, rung by one thread.

    Args:
        path: the path of the log.

    """

    def __init__(self, path: Path) -> None:
        self._folder = folder_of(path)
        self._owners = _owners(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._paths: list[str] = []
        self._changed_at = -1
        self._is_fresh = True

    def ring(self) -> None:
        """Wake every listener."""
        for path in self._current():
            self._send(RING, path)  # one without room has datagrams: it is awake

    async def send(self, message: bytes) -> None:
        """Send a message to every listener; one that has no room for a while misses it.

        Raises:
            OSError: the message is too long for a datagram.

        """
        paths = self._current()
        for wait in (*FULL_WAITS, 0.0):
            paths = [path for path in paths if not self._send(message, path)]
            if not paths:
                return
            await asyncio.sleep(wait)  # the kernel reports no room for an address

    def _send(self, message: bytes, path: str) -> bool:
        """Send a datagram; return False if the listener has no room for it."""
        try:
            self._socket.sendto(message, path)
        except BlockingIOError:
            return False
        except ConnectionRefusedError:
            self._remove(path)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise
            self._is_fresh = True  # it is gone, or of another user
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _current(self) -> list[str]:
        # No error ends the thread of the writer: listeners without a bell look by themselves.
        try:
            status = self._folder.lstat()
            if not is_private(status, self._owners):
                return []
            changed_at = status.st_mtime_ns
            if self._is_fresh or changed_at != self._changed_at:
                self._paths = [entry.path for entry in os.scandir(self._folder)]
                self._changed_at = changed_at
                self._is_fresh = time.time() - changed_at / 1e9 < FRESH_SECONDS
        except OSError:
            self._paths = []
        return self._paths

    def _remove(self, path: str) -> None:
        # Refused: the process of the listener is gone, and did not remove its socket. A file that
        # is no socket refuses too, and stays.
        self._is_fresh = True
        with suppress(OSError):
            if Path(path).is_socket():
                Path(path).unlink()


class Bell:
    """Bell of one listener, in its event loop; without a folder for it, only time ends a wait.

    Args:
        path: the path of the log.
        receive: called with each message.

    """

    def __init__(self, path: Path, receive: Callable[[bytes], None]) -> None:
        self._log = path
        self._receive = receive
        self._buffer = bytearray(MAX_MESSAGE)
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._path: Path | None = None

    def __enter__(self) -> Self:
        self._socket.setblocking(False)
        try:
            try:
                path = self._bind()
            except FileNotFoundError:  # the last listener has just removed the folder
                path = self._bind()
        except OSError as error:
            self._socket.close()
            _logger.warning(
                "listener without a bell, events arrive later: run `realtime-bridge doctor` "
                "path=%s error=%r",
                self._log,
                str(error),
            )
        else:
            self._path = path
            self._loop.add_reader(self._socket, self._on_ring)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._path:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._path.unlink(missing_ok=True)
            _remove_empty(self._path.parent)

    def _bind(self) -> Path:
        path = make_folder(self._log) / f"{os.getpid()}-{ids.nonce()}"
        try:
            self._socket.bind(str(path))
        except OSError:  # the folder of temporary files has a long path too
            _remove_empty(path.parent)
            raise
        return path

    async def wait(self, seconds: float) -> None:
        """Wait until the bell rings, for a time at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()

    def _on_ring(self) -> None:
        with suppress(BlockingIOError):
            while size := self._socket.recv_into(self._buffer):
                if self._buffer.startswith(RING):
                    self._rung.set()
                else:
                    self._receive(bytes(self._buffer[:size]))
