"""Stages of a job: each reads the whole file in chunks."""

import hashlib
import zlib
from typing import Any, Protocol


class Stage(Protocol):
    """Pass over a file."""

    def feed(self, chunk: bytes) -> None:
        """Process the next bytes of the file."""

    def result(self) -> dict[str, Any]:
        """Return the result, after the last byte of the file."""


class Checksum:
    """SHA-256 of the content."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def feed(self, chunk: bytes) -> None:
        self._hash.update(chunk)

    def result(self) -> dict[str, Any]:
        return {"sha256": self._hash.hexdigest()}


class Compress:
    """Size after compression by zlib, in bytes."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(level=1)
        self._bytes = 0

    def feed(self, chunk: bytes) -> None:
        self._bytes += len(self._deflate.compress(chunk))

    def result(self) -> dict[str, Any]:
        return {"compressed_bytes": self._bytes + len(self._deflate.flush())}


class Count:
    """Numbers of lines and words, as `wc` counts them."""

    def __init__(self) -> None:
        self._lines = self._words = 0
        self._inside_word = False

    def feed(self, chunk: bytes) -> None:
        self._lines += chunk.count(b"\n")
        self._words += len(chunk.split()) - (self._inside_word and not chunk[:1].isspace())
        self._inside_word = not chunk[-1:].isspace()

    def result(self) -> dict[str, Any]:
        return {"lines": self._lines, "words": self._words}


STAGES: dict[str, type[Stage]] = {"checksum": Checksum, "compress": Compress, "count": Count}
