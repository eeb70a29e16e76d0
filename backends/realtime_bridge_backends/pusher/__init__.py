"""Pusher: hosted provider."""

from realtime_bridge_backends.pusher.backend import PusherBackend

__all__ = ["PusherBackend"]
