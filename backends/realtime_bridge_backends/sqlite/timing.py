"""Time limits of an SQLite backend."""

from msgspec import Struct


class SQLiteTiming(Struct, frozen=True, kw_only=True):
    """Time limits, in seconds.

    Args:
        busy_seconds: for the write lock of the file, which another process may hold. It is below
            the broadcaster's limit of 5 s, so that the broadcaster reports this error and not a
            timeout of its own.
        call_seconds: for the answer of a thread of the file.
        poll_seconds: between two looks of a listener that no process wakes.
        expiry_seconds: between two searches for what has expired.

    """

    busy_seconds: float = 4.5
    call_seconds: float = 4.8
    poll_seconds: float = 0.25
    expiry_seconds: float = 60.0
