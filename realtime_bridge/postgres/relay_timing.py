"""Waiting times of a relay."""

from msgspec import Struct


class RelayTiming(Struct, frozen=True, kw_only=True):
    """Waiting times of a relay, in seconds.

    Args:
        standby_seconds: between two tries to become active, and before a stuck channel's retry.
        idle_seconds: the longest wait for a notification; then the relay reads without one.
        answer_seconds: for each answer of the database, and to connect.
        push_seconds: for one push into the backend.

    """

    standby_seconds: float = 1.0
    idle_seconds: float = 5.0
    answer_seconds: float = 5.0
    push_seconds: float = 5.0
