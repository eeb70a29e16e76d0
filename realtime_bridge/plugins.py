"""A backend by its name, through its entry point."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from realtime_bridge.backend import Backend, Hosted, Log, Plugin
from realtime_bridge.errors import (
    BackendNotFoundError,
    BackendNotInstalledError,
    ConfigurationError,
)
from realtime_bridge.failover import Carrier, Failover

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

GROUP = "realtime_bridge.backends"

_logger = logging.getLogger("realtime_bridge.plugins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a publish goes through: the log that numbers it, the backend that pushes it."""

    log: Log | None
    backend: Backend | None


def installed() -> Sequence[str]:
    """Return the names of the installed backends."""
    return sorted({found.name for found in entry_points(group=GROUP)})


def find(name: str) -> type[Plugin]:
    """Load the plug-in called `name`.

    Raises:
        BackendNotFoundError: there is none of this name.
        BackendNotInstalledError: a library it stands on is missing.

    """
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise BackendNotFoundError(name, known=installed())
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
            "realtime_bridge.backend.Plugin"
        )
    return plugin


def for_worker(settings: "Settings") -> Parts:
    """Make what a process that is not the server publishes through.

    A log that only the server reaches is appended to by calling the server, which pushes too.
    """
    log = log_class(settings)
    if log and log.reached_through and settings.backend != _log_name(settings):
        remote = _as_log(settings, find(log.reached_through))
        return Parts(log=remote.from_settings(settings), backend=None)
    return _parts(settings, log)


def for_server(settings: "Settings") -> Parts:
    """Make what the server's process publishes through: the log itself."""
    return _parts(settings, log_class(settings))


def _parts(settings: "Settings", log_type: type[Log] | None) -> Parts:
    log = log_type.from_settings(settings) if log_type else None
    if settings.failover:
        return Parts(log=log, backend=_failover(settings, log))
    chosen = find(settings.backend)
    if log is None and issubclass(chosen, Hosted):
        _logger.warning(
            "REALTIME_BACKEND=%s without a log: what is lost on the way stays lost, and pages "
            "reload on each reconnect. For each event once and in order, set REALTIME_REDIS_URL "
            "or REALTIME_POSTGRES_URL, or REALTIME_LOG",
            settings.backend,
        )
    return Parts(log=log, backend=_carrier(settings, settings.backend).backend)


def _failover(settings: "Settings", log: Log | None) -> Failover:
    if log is None:
        raise ConfigurationError(
            "REALTIME_FAILOVER needs a log, from which clients get what was under way: set "
            "REALTIME_REDIS_URL or REALTIME_POSTGRES_URL, or REALTIME_LOG"
        )
    names = (settings.backend, *settings.failover)
    if len(set(names)) < len(names):
        raise ConfigurationError(f"REALTIME_FAILOVER names one twice: {', '.join(names)}")
    return Failover([_carrier(settings, name) for name in names], log)


def _carrier(settings: "Settings", name: str) -> Carrier:
    """Return a backend by its name; what delivers from the log has nothing to push."""
    chosen = find(name)
    made = chosen.from_settings(settings) if issubclass(chosen, Backend) else None
    return Carrier(name, made)


def log_class(settings: "Settings") -> type[Log] | None:
    """Return the class of the configured log."""
    name = _log_name(settings)
    return _as_log(settings, find(name)) if name else None


def _log_name(settings: "Settings") -> str | None:
    if settings.log == "none":
        return None
    if settings.log != "auto":
        return settings.log
    chosen = find(settings.backend)
    if len(chosen.default_logs) == 1:
        return chosen.default_logs[0]
    if chosen.default_logs:
        return next(filter(_is_configured, chosen.default_logs), None)
    return settings.backend if issubclass(chosen, Log) else None


def _is_configured(name: str) -> bool:
    try:
        return find(name).is_configured()
    except (BackendNotFoundError, BackendNotInstalledError):
        return False


def _as_log(settings: "Settings", plugin: type[Plugin]) -> type[Log]:
    if not issubclass(plugin, Log):
        raise ConfigurationError(
            f"REALTIME_LOG={settings.log!r}: {plugin.__name__} is not a log. "
            "Use auto, none, or a backend that remembers, such as memory"
        )
    return plugin
