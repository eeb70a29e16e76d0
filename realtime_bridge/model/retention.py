"""Amount of history that a channel keeps."""

from msgspec import Struct


class Retention(Struct, frozen=True, kw_only=True):
    """Limits of a channel's history: events, bytes of data, seconds after the last append."""

    events: int = 1_000
    bytes: int = 1024 * 1024
    seconds: float = 600.0
