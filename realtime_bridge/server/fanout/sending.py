"""Sending of the same bytes to many sockets, compiled where possible."""

import os
from collections.abc import Callable, Iterable

from realtime_bridge.compiled import compiled

WriteTarget = int | Callable[[bytes], int]
"""Number of a non-blocking socket, or a function that returns how many bytes it took."""


def in_python(targets: Iterable[WriteTarget], data: bytes) -> list[tuple[int, int]]:
    """Write `data` to each target; return index and bytes taken of each that did not take all.

    A target that cannot be written to took nothing: its transport reports the error.
    """
    size = len(data)
    short: list[tuple[int, int]] = []
    for index, target in enumerate(targets):
        try:
            sent = os.write(target, data) if isinstance(target, int) else target(data)
        except OSError:
            sent = 0
        if sent != size:
            short.append((index, sent))
    return short


# Without a compiler at the installation, Python makes one call per socket, which is slower.
send_all: Callable[[Iterable[WriteTarget], bytes], list[tuple[int, int]]] = (
    compiled("send_all") or in_python
)
