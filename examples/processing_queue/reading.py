"""Reading of a file by all stages, at a limited speed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pace import Conflation, Throttle
from stages import STAGES

CHUNK = 256 * 1024

Report = Callable[[str, int], None]
"""Function that reports the stage, and the bytes that all stages have read so far."""


class ReadError(Exception):
    """Failure to read a file; the message has the reason, and no path of this machine."""


class FileChangedError(ReadError):
    """Change of a file during the read; a later attempt may succeed."""

    def __init__(self) -> None:
        super().__init__("The file changed while it was being read")


def size_of(path: Path) -> int:
    """Return a file's size in bytes.

    Raises:
        ReadError: the file does not exist, or access is denied.

    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise ReadError(error.strerror) from error


def read_in_stages(path: Path, size: int, *, rate: int, report: Report) -> dict[str, Any]:
    """Read a file of `size` bytes once for each stage, and return the results.

    Args:
        path: the file.
        size: its size at the start of the job, in bytes.
        rate: limit in bytes per second; 0 is no limit.
        report: called after each chunk.

    Raises:
        ReadError: the file cannot be read, or has changed.

    """
    result: dict[str, Any] = {"bytes": size}
    throttle = Throttle(rate, started=time.monotonic())
    done = 0
    for name, stage_class in STAGES.items():
        stage = stage_class()
        for chunk in _chunks(path, size):
            stage.feed(chunk)
            done += len(chunk)
            time.sleep(throttle.pause(done, time.monotonic()))
            report(name, done)
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


def at_intervals(seconds: float, report: Report) -> Report:
    """Return a function that calls `report` at most once per interval."""
    conflation = Conflation(seconds, started=time.monotonic())

    def report_if_due(stage: str, done: int) -> None:
        start = time.monotonic()
        if conflation.due(start):
            report(stage, done)
            conflation.reported(start, time.monotonic())

    return report_if_due


def summary(result: dict[str, Any]) -> str:
    """Return the results of the stages as a sentence."""
    return "{lines:,} lines, {words:,} words, SHA-256 {sha256:.8}…".format_map(result)
