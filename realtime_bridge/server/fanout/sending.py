"""The same bytes to many sockets: in C where that was compiled, otherwise in Python."""

import os
from collections.abc import Callable, Iterable

WriteTarget = int | Callable[[bytes], int]
"""The number of a socket that does not block; or what takes bytes, and returns how many it took."""


def in_python(outlets: Iterable[WriteTarget], ready: bytes) -> list[tuple[int, int]]:
    """Write `ready` to each; tell who took less than all of it, by its place, and how much.

    One that cannot be written to has taken nothing: it is its transport that says why.
    """
    size = len(ready)
    short: list[tuple[int, int]] = []
    for place, outlet in enumerate(outlets):
        try:
            sent = os.write(outlet, ready) if isinstance(outlet, int) else outlet(ready)
        except OSError:
            sent = 0
        if sent != size:
            short.append((place, sent))
    return short


try:
    from realtime_bridge.server.fanout._sending import send_all as send_all  # noqa: PLC0414 -- it is exported
except ImportError:
    send_all = in_python
