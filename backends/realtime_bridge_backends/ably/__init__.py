"""Ably: hosted provider, by its official SDK."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_bridge_backends.ably.backend import AblyBackend as AblyBackend
    from realtime_bridge_backends.ably.settings import AblySettings as AblySettings
    from realtime_bridge_backends.ably.timing import AblyTiming as AblyTiming

_HOMES = {"AblyBackend": "backend", "AblySettings": "settings", "AblyTiming": "timing"}

__all__ = ["AblyBackend", "AblySettings", "AblyTiming"]


def __getattr__(name: str) -> object:
    """Import a class on first use, so that the settings load without the SDK."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
