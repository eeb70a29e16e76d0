"""Sending of the same bytes to many sockets, compiled where possible."""

import os
from collections.abc import Callable, Iterable

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


try:
    from realtime_bridge.server.fanout._sending import send_all as send_all  # noqa: PLC0414 -- it is exported
except ImportError:
    # No compiler at the installation: Python makes one call per socket, which is slower.
    send_all = in_python
