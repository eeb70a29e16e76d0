"""Durations of a session."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTiming:
    """Durations of one session, in seconds (docs/specification.md)."""

    connect: float = 5.0
    """Time for the client to send a valid `connect`."""

    heartbeat: float = 10.0
    """Interval of heartbeats, before each connection spreads its own by ±10 %."""

    token_skew: float = 30.0
    """Time that an expired token is still accepted, because clocks differ."""

    stalled: float = 10.0
    """Time without progress after which a slow client is disconnected."""

    slow_window: float = 60.0
    """Time within which a client that is slow for the second time is disconnected."""

    progress_check: float = 1.0
    """Interval at which the unsent bytes of a slow client are compared."""
