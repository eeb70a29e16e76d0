"""Identifiers nobody else has made: of events, epochs and clients."""

import os
import time

_CROCKFORD = b"0123456789abcdefghjkmnpqrstvwxyz" * 8
"""The alphabet, once for each of the 256 bytes."""


_POOL = 256
_VARIANTS = "89ab89ab89ab89ab"

_chance: list[str] = []
os.register_at_fork(after_in_child=_chance.clear)  # a child must not make its parent's ids


def event_id() -> str:
    """Make a UUIDv7 (RFC 9562 §5.7): unique, and sorted by the millisecond it was made in."""
    now = f"{time.time_ns() // 1_000_000:012x}"
    return f"{now[:8]}-{now[8:]}-{_draw()}"


def _draw() -> str:
    """Take the random part of an id from the pool; threads may do so at the same time."""
    while True:
        try:
            return _chance.pop()
        except IndexError:
            _fill()


def _fill() -> None:
    drawn = os.urandom(10 * _POOL).hex()
    for at in range(0, len(drawn), 20):
        variant = _VARIANTS[int(drawn[at], 16)]
        a, b, c = drawn[at + 1 : at + 4], drawn[at + 4 : at + 7], drawn[at + 7 : at + 19]
        _chance.append(f"7{a}-{variant}{b}-{c}")


def epoch() -> str:
    """Make the name of a new epoch: 8 random base32 characters, Crockford's alphabet."""
    return os.urandom(8).translate(_CROCKFORD).decode()


def client_id() -> str:
    """Make the name of a client, once per process or page load."""
    return f"c_{os.urandom(9).hex()}"
