"""Ably: hosted provider, by its official SDK."""

from realtime_bridge_backends.ably.backend import AblyBackend

__all__ = ["AblyBackend"]
