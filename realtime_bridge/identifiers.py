"""Identifiers nobody else has made: of events, epochs and clients."""

import os
import time

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


_POOL = 4_096
_VARIANTS = "89ab89ab89ab89ab"

_chance: list[str] = []
os.register_at_fork(after_in_child=_chance.clear)  # a child must not make its parent's ids


def event_id() -> str:
    """Make a UUIDv7 (RFC 9562 §5.7): unique, and sorted by the millisecond it was made in."""
    now = f"{time.time_ns() // 1_000_000:012x}"
    chance = _draw()
    variant = _VARIANTS[int(chance[0], 16)]
    return f"{now[:8]}-{now[8:]}-7{chance[1:4]}-{variant}{chance[4:7]}-{chance[7:19]}"


def _draw() -> str:
    """Return 80 random bits in hexadecimal, from a pool that is filled with one system call."""
    try:
        return _chance.pop()
    except IndexError:
        drawn = os.urandom(10 * _POOL).hex()
        _chance.extend(drawn[at : at + 20] for at in range(0, len(drawn), 20))
        return _chance.pop()


def epoch() -> str:
    """Make the name of a new epoch: 8 random base32 characters, Crockford's alphabet."""
    return "".join(_CROCKFORD[byte & 31] for byte in os.urandom(8))


def client_id() -> str:
    """Make the name of a client, once per process or page load."""
    return f"c_{os.urandom(9).hex()}"
