"""Amount of history that a channel keeps."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Limits of a channel's history: events, bytes of data, seconds after the last append."""

    events: int = 1_000
    bytes: int = 1024 * 1024
    seconds: float = 600.0
