"""A file read by one stage after the other, no faster than it may be."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pace import Conflation, Throttle
from stages import STAGES

CHUNK = 256 * 1024

Tell = Callable[[str, int], None]
"""Takes the stage, and how many bytes all stages have read so far."""


class ReadError(Exception):
    """A file cannot be read; it says why, without the paths of this machine."""


class FileChangedError(ReadError):
    """It changed while it was being read: later it may be whole."""

    def __init__(self) -> None:
        super().__init__("The file changed while it was being read")


def size_of(path: Path) -> int:
    """Return a file's size in bytes.

    Raises:
        ReadError: there is no such file, or not for us.

    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise ReadError(error.strerror) from error


def read_in_stages(path: Path, size: int, *, rate: int, tell: Tell) -> dict[str, Any]:
    """Read a file of `size` bytes once for each stage, and return what they found.

    Args:
        path: the file.
        size: what it had when the job began.
        rate: bytes a second at most; 0 is no limit.
        tell: called after each chunk.

    Raises:
        ReadError: it cannot be read, or has changed.

    """
    result: dict[str, Any] = {"bytes": size}
    throttle = Throttle(rate, started=time.monotonic())
    done = 0
    for name, make in STAGES.items():
        stage = make()
        for chunk in _chunks(path, size):
            stage.feed(chunk)
            done += len(chunk)
            time.sleep(throttle.pause(done, time.monotonic()))
            tell(name, done)
        result |= stage.result()
    return result


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    read = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                read += len(chunk)
                if read > size:
                    break
                yield chunk
    except OSError as error:
        raise ReadError(error.strerror) from error
    if read != size:
        raise FileChangedError


def at_intervals(seconds: float, tell: Tell) -> Tell:
    """Return what calls `tell` now and then: each call says all there is to say."""
    conflation = Conflation(seconds, started=time.monotonic())

    def tell_if_due(stage: str, done: int) -> None:
        began = time.monotonic()
        if conflation.due(began):
            tell(stage, done)
            conflation.reported(began, time.monotonic())

    return tell_if_due


def summary(result: dict[str, Any]) -> str:
    """Return in words what the stages found."""
    return "{lines:,} lines, {words:,} words, SHA-256 {sha256:.8}…".format_map(result)
