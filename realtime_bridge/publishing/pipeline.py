"""Log and backend that a publish passes through."""

import logging
from dataclasses import dataclass

from realtime_bridge.backend.hosted import HostedBackend
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.plugins import load_backend
from realtime_bridge.backend.push import Backend
from realtime_bridge.errors import (
    BackendNotFoundError,
    BackendNotInstalledError,
    ConfigurationError,
)
from realtime_bridge.publishing.failover import Failover, FailoverTarget
from realtime_bridge.settings import Settings

_logger = logging.getLogger("realtime_bridge.publishing")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPipeline:
    """What a publish goes through: the log that numbers it, the backend that pushes it."""

    log: Log | None
    backend: Backend | None


def worker_pipeline(settings: Settings) -> PublishPipeline:
    """Make what a process that is not the server publishes through.

    A log that only the server reaches is appended to by calling the server, which pushes too.
    """
    log = log_class(settings)
    if log and log.remote_access_via and settings.backend != _log_name(settings):
        remote = _as_log(settings, load_backend(log.remote_access_via))
        return PublishPipeline(log=_create_log(settings, remote), backend=None)
    return _parts(settings, log)


def server_pipeline(settings: Settings) -> PublishPipeline:
    """Make what the server's process publishes through: the log itself."""
    return _parts(settings, log_class(settings))


def _parts(settings: Settings, log_type: type[Log] | None) -> PublishPipeline:
    log = _create_log(settings, log_type) if log_type else None
    if settings.failover:
        return PublishPipeline(log=log, backend=_failover(settings, log))
    chosen = load_backend(settings.backend)
    if log is None and issubclass(chosen, HostedBackend):
        _logger.warning(
            "REALTIME_BACKEND=%s without a log: what is lost on the way stays lost, and pages "
            "reload on each reconnect. For each event once and in order, set REALTIME_REDIS_URL "
            "or REALTIME_POSTGRES_URL, or REALTIME_LOG",
            settings.backend,
        )
    return PublishPipeline(log=log, backend=_target(settings, settings.backend).backend)


def _create_log(settings: Settings, log_type: type[Log]) -> Log:
    assert issubclass(log_type, Plugin)
    return log_type.from_settings(settings)


def _failover(settings: Settings, log: Log | None) -> Failover:
    if log is None:
        raise ConfigurationError(
            "REALTIME_FAILOVER needs a log, from which clients get what was under way: set "
            "REALTIME_REDIS_URL or REALTIME_POSTGRES_URL, or REALTIME_LOG"
        )
    names = (settings.backend, *settings.failover)
    if len(set(names)) < len(names):
        raise ConfigurationError(f"REALTIME_FAILOVER names one twice: {', '.join(names)}")
    return Failover([_target(settings, name) for name in names], log)


def _target(settings: Settings, name: str) -> FailoverTarget:
    """Return a backend by its name; what delivers from the log has nothing to push."""
    chosen = load_backend(name)
    backend = chosen.from_settings(settings) if issubclass(chosen, Backend) else None
    return FailoverTarget(name, backend)


def log_class(settings: Settings) -> type[Log] | None:
    """Return the class of the configured log."""
    name = _log_name(settings)
    return _as_log(settings, load_backend(name)) if name else None


def _log_name(settings: Settings) -> str | None:
    if settings.log == "none":
        return None
    if settings.log != "auto":
        return settings.log
    chosen = load_backend(settings.backend)
    if len(chosen.default_logs) == 1:
        return chosen.default_logs[0]
    if chosen.default_logs:
        return next(filter(_is_configured, chosen.default_logs), None)
    return settings.backend if issubclass(chosen, Log) else None


def _is_configured(name: str) -> bool:
    try:
        return load_backend(name).is_configured()
    except (BackendNotFoundError, BackendNotInstalledError):
        return False


def _as_log(settings: Settings, plugin: type[Plugin]) -> type[Log]:
    if not issubclass(plugin, Log):
        raise ConfigurationError(
            f"REALTIME_LOG={settings.log!r}: {plugin.__name__} is not a log. "
            "Use auto, none, or a backend that remembers, such as memory"
        )
    return plugin
