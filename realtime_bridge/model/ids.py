"""Unique identifiers of events, epochs and clients."""

import os
import time

from realtime_bridge.compiled import twin
from realtime_bridge.model.fork import after_fork_in_child

_CROCKFORD = b"0123456789abcdefghjkmnpqrstvwxyz" * 8
"""Crockford's base32 alphabet, repeated: a table from bytes to characters."""

_COUNTS = [f"{count:02x}" for count in range(0xFF, -1, -1)]

_tails: list[str] = []
# A forked child would create the ids of its parent.
after_fork_in_child(_tails.clear)

_this_millisecond = (0, "")


@twin(_tails, time)
def event_id() -> str:
    """Return a new UUIDv7 (RFC 9562 §5.7): unique, and sorted by its millisecond.

    256 ids share one random part; eight bits count between them (§6.2, method 1).
    """
    global _this_millisecond  # noqa: PLW0603 -- one value: threads may write it without a lock
    millisecond, head = _this_millisecond
    now = time.time_ns() // 1_000_000
    if now != millisecond:
        digits = f"{now:012x}"
        head = f"{digits[:8]}-{digits[8:]}-"
        _this_millisecond = now, head
    while True:
        try:
            return head + _tails.pop()
        except IndexError:
            _refill()


def _refill() -> None:
    version = f"7{os.urandom(1).hex()[0]}"
    drawn = f"{int.from_bytes(os.urandom(8)) >> 2 | 1 << 63:016x}"
    variant = f"-{drawn[:4]}-{drawn[4:]}"
    _tails.extend([f"{version}{count}{variant}" for count in _COUNTS])


def epoch() -> str:
    """Return a new epoch: 8 random characters of Crockford's base32."""
    return os.urandom(8).translate(_CROCKFORD).decode()


def client_id() -> str:
    """Return a new client id; a process or page load has one."""
    return f"c_{os.urandom(9).hex()}"


def nonce() -> str:
    """Return 13 random characters of Crockford's base32, for an attempt or the ids of a writer."""
    return os.urandom(13).translate(_CROCKFORD).decode()
