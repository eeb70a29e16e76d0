"""Backends by their names: a table of the built-in ones, entry points for others."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from msgspec import Struct

from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.errors import (
    BackendNotFoundError,
    BackendNotInstalledError,
    ConfigurationError,
)

GROUP = "realtime_bridge.backends"


class BuiltIn(Struct, frozen=True):
    """Classes of a built-in backend, each as `module:class`; a settings module loads no SDK."""

    plugin: str
    settings: str | None = None


# The only place of the core that names vendors. It is data, imported on use, and saves a cold
# start the 20 ms in which importlib.metadata reads the entry points.
BUILT_IN = {
    "ably": BuiltIn(
        "realtime_bridge_backends.ably.backend:AblyBackend",
        "realtime_bridge_backends.ably.settings:AblySettings",
    ),
    "memory": BuiltIn("realtime_bridge_backends.memory:MemoryBackend"),
    "null": BuiltIn("realtime_bridge_backends.null:NullBackend"),
    "postgres": BuiltIn(
        "realtime_bridge_backends.postgres.backend:PostgresBackend",
        "realtime_bridge.postgres.settings:PostgresSettings",
    ),
    "pusher": BuiltIn(
        "realtime_bridge_backends.pusher.backend:PusherBackend",
        "realtime_bridge_backends.pusher.settings:PusherSettings",
    ),
    "redis": BuiltIn(
        "realtime_bridge_backends.redis.backend:RedisBackend",
        "realtime_bridge_backends.redis.settings:RedisSettings",
    ),
    "sqlite": BuiltIn(
        "realtime_bridge_backends.sqlite.backend:SQLiteBackend",
        "realtime_bridge_backends.sqlite.settings:SQLiteSettings",
    ),
    "websocket": BuiltIn(
        "realtime_bridge_backends.websocket:WebSocketBackend",
        "realtime_bridge_backends.websocket_settings:WebSocketSettings",
    ),
}
"""Built-in backends by their names."""

SHARED_LOGS = ("redis", "postgres")
"""Built-in logs that every process reaches, in order of preference."""

SHARED_LOG_VARIABLES = " or ".join(f"REALTIME_{name.upper()}_URL" for name in SHARED_LOGS)


def installed_backends() -> Sequence[str]:
    """Return the names of the built-in backends and of those that other packages declare."""
    from importlib.metadata import entry_points

    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def load_backend(name: str) -> type[Plugin]:
    """Return the class of the backend called `name`; a built-in name cannot be replaced.

    Raises:
        BackendNotFoundError: no installed backend has this name.
        BackendNotInstalledError: a package that the backend needs is missing.
        ConfigurationError: the entry point names something else than a backend.

    """
    target = BUILT_IN[name].plugin if name in BUILT_IN else _declared(name)
    try:
        plugin = import_object(target)
    except ModuleNotFoundError as error:
        raise BackendNotInstalledError(name, missing=error.name or "?", extra=name) from error
    if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
        raise ConfigurationError(
            f"The entry point {name!r} ({target}) is not a subclass of "
            "realtime_bridge.backend.plugin.Plugin"
        )
    return plugin


def _declared(name: str) -> str:
    from importlib.metadata import entry_points

    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        raise BackendNotFoundError(name, known=installed_backends())
    return point.value


def import_object(target: str) -> Any:
    """Import `module:name`, and return what the name stands for."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
