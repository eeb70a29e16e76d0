"""Ably: hosted provider."""

from realtime_bridge_backends.ably.backend import AblyBackend

__all__ = ["AblyBackend"]
