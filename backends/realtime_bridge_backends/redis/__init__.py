"""Redis: log and feed on one server, a Sentinel's master, or a Cluster."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_bridge_backends.redis.backend import RedisBackend as RedisBackend
    from realtime_bridge_backends.redis.settings import RedisSettings as RedisSettings
    from realtime_bridge_backends.redis.timing import RedisTiming as RedisTiming

_HOMES = {"RedisBackend": "backend", "RedisSettings": "settings", "RedisTiming": "timing"}

__all__ = ["RedisBackend", "RedisSettings", "RedisTiming"]


def __getattr__(name: str) -> object:
    """Import a class on first use, so that the settings load without the SDK."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
