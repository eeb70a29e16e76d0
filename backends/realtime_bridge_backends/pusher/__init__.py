"""Pusher Channels: hosted provider, by its official SDK."""

from realtime_bridge_backends.pusher.backend import PusherBackend

__all__ = ["PusherBackend"]
