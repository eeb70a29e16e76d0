"""Identifiers nobody else has made: of events, epochs and clients."""

import os
import time

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def event_id() -> str:
    """Make a UUIDv7 (RFC 9562 §5.7): unique, and sorted by the millisecond it was made in."""
    milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10))
    number = (
        (milliseconds & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (chance >> 68 & 0xFFF) << 64
        | 0b10 << 62
        | chance & 0x3FFF_FFFF_FFFF_FFFF
    )
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def epoch() -> str:
    """Make the name of a new epoch: 8 random base32 characters, Crockford's alphabet."""
    return "".join(_CROCKFORD[byte & 31] for byte in os.urandom(8))


def client_id() -> str:
    """Make the name of a client, once per process or page load."""
    return f"c_{os.urandom(9).hex()}"
