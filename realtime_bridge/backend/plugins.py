"""Backends by their names, through their entry points."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.errors import (
    BackendNotFoundError,
    BackendNotInstalledError,
    ConfigurationError,
)

GROUP = "realtime_bridge.backends"


def installed_backends() -> Sequence[str]:
    """Return the names of the installed backends."""
    return sorted({found.name for found in entry_points(group=GROUP)})


def load_backend(name: str) -> type[Plugin]:
    """Load the plug-in called `name`.

    Raises:
        BackendNotFoundError: there is none of this name.
        BackendNotInstalledError: a library it stands on is missing.

    """
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise BackendNotFoundError(name, known=installed_backends())
    return _load(found)


def _load(found: EntryPoint) -> type[Plugin]:
    try:
        plugin = found.load()
    except ModuleNotFoundError as error:
        raise BackendNotInstalledError(
            found.name, missing=error.name or "?", extra=found.name
        ) from error
    if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
        raise ConfigurationError(
            f"The entry point {found.name!r} ({found.value}) is not a subclass of "
            "realtime_bridge.backend.plugin.Plugin"
        )
    return plugin
