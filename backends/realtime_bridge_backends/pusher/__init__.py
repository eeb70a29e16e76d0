"""Pusher Channels: hosted provider, by its official SDK."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_bridge_backends.pusher.backend import PusherBackend as PusherBackend
    from realtime_bridge_backends.pusher.settings import PusherSettings as PusherSettings
    from realtime_bridge_backends.pusher.timing import PusherTiming as PusherTiming

_HOMES = {"PusherBackend": "backend", "PusherSettings": "settings", "PusherTiming": "timing"}

__all__ = ["PusherBackend", "PusherSettings", "PusherTiming"]


def __getattr__(name: str) -> object:
    """Import a class on first use, so that the settings load without the SDK."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
