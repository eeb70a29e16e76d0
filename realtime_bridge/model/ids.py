"""Identifiers nobody else has made: of events, epochs and clients."""

import os
import time

_CROCKFORD = b"0123456789abcdefghjkmnpqrstvwxyz" * 8
"""The alphabet, once for each of the 256 bytes."""


_COUNTS = [f"{count:02x}" for count in range(0xFF, -1, -1)]

_tails: list[str] = []
os.register_at_fork(after_in_child=_tails.clear)  # a child must not make its parent's ids

_this_millisecond = (0, "")


def event_id() -> str:
    """Make a UUIDv7 (RFC 9562 §5.7): unique, and sorted by the millisecond it was made in.

    Its random part is drawn anew for every 256 ids; between, eight bits count (§6.2, method 1).
    """
    global _this_millisecond  # noqa: PLW0603 -- threads may each write it: it is one value
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
    """Make the name of a new epoch: 8 random base32 characters, Crockford's alphabet."""
    return os.urandom(8).translate(_CROCKFORD).decode()


def client_id() -> str:
    """Make the name of a client, once per process or page load."""
    return f"c_{os.urandom(9).hex()}"
