"""Log and backend that a publish passes through, as the configuration describes them."""

import logging
from typing import TYPE_CHECKING

from msgspec import Struct

from realtime_bridge.backend.hosted import HostedBackend
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.plugins import (
    BUILT_IN,
    SHARED_LOG_VARIABLES,
    import_object,
    load_backend,
)
from realtime_bridge.backend.push import Backend
from realtime_bridge.errors import (
    BackendNotFoundError,
    BackendNotInstalledError,
    ConfigurationError,
)
from realtime_bridge.publishing.failover import Failover, FailoverTarget
from realtime_bridge.settings import Settings

if TYPE_CHECKING:
    from realtime_bridge.publishing.mirror import Mirror

_logger = logging.getLogger("realtime_bridge.publishing")


class PublishPipeline(Struct, frozen=True, kw_only=True):
    """Parts of a publish: the log gives positions, the backend pushes, a mirror gets a copy."""

    log: Log | None
    backend: Backend | None
    mirror: "Mirror | None" = None


def worker_pipeline(settings: Settings) -> PublishPipeline:
    """Return the pipeline of a process that is not the server.

    Where only the server reaches the log, the worker calls the server, which appends and pushes.

    Raises:
        ConfigurationError: the configuration cannot work.

    """
    log = log_class(settings)
    # A backend that is the log itself stays in this process, such as memory in a test.
    if log and log.remote_access_via and settings.backend != log_name(settings):
        remote = _as_log(settings, load_backend(log.remote_access_via))
        return PublishPipeline(log=_create_log(settings, remote), backend=None)
    return _create_pipeline(settings, log)


def server_pipeline(settings: Settings) -> PublishPipeline:
    """Return the pipeline of the server: the log itself, and the backend.

    Raises:
        ConfigurationError: the configuration cannot work.

    """
    return _create_pipeline(settings, log_class(settings))


def log_class(settings: Settings) -> type[Log] | None:
    """Return the class of the configured log."""
    name = log_name(settings)
    return _as_log(settings, load_backend(name)) if name else None


def _create_pipeline(settings: Settings, log_type: type[Log] | None) -> PublishPipeline:
    log = _create_log(settings, log_type) if log_type else None
    mirror = _create_mirror(settings, log) if settings.mirror else None
    if settings.failover:
        backend = _create_failover(settings, log)
        return PublishPipeline(log=log, backend=backend, mirror=mirror)
    backend_type = load_backend(settings.backend)
    if log is None and issubclass(backend_type, HostedBackend):
        _logger.warning(
            "REALTIME_BACKEND=%s has no log: a lost event stays lost, and pages reload on each "
            "reconnect. For each event once and in order, set %s, or REALTIME_LOG",
            settings.backend,
            SHARED_LOG_VARIABLES,
        )
    target = _create_target(settings, settings.backend)
    return PublishPipeline(log=log, backend=target.backend, mirror=mirror)


def _create_log(settings: Settings, log_type: type[Log]) -> Log:
    assert issubclass(log_type, Plugin)
    return log_type.from_settings(settings)


def _create_failover(settings: Settings, log: Log | None) -> Failover:
    if log is None:
        raise ConfigurationError(
            "REALTIME_FAILOVER needs a log, from which clients recover the events of a switch: "
            f"set {SHARED_LOG_VARIABLES}, or REALTIME_LOG"
        )
    names = (settings.backend, *settings.failover)
    if len(set(names)) < len(names):
        raise ConfigurationError(
            f"REALTIME_FAILOVER names a backend twice: {', '.join(names)}. Name each once"
        )
    return Failover([_create_target(settings, name) for name in names], log)


def _create_mirror(settings: Settings, log: Log | None) -> "Mirror":
    from realtime_bridge.publishing.mirror import Mirror  # few applications have one

    name = settings.mirror or ""
    if name in (settings.backend, *settings.failover):
        raise ConfigurationError(
            f"REALTIME_MIRROR={name} delivers already: name another backend, or unset it"
        )
    target = _create_target(settings, name)
    if target.backend is None or target.backend.drops:
        raise ConfigurationError(
            f"REALTIME_MIRROR={name} pushes no events: name a provider, such as pusher or ably"
        )
    return Mirror(name, target.backend, log)


def _create_target(settings: Settings, name: str) -> FailoverTarget:
    """Return a target by its name; a plug-in that delivers from the log pushes nothing."""
    plugin = load_backend(name)
    backend = plugin.from_settings(settings) if issubclass(plugin, Backend) else None
    return FailoverTarget(name, backend)


def log_name(settings: Settings) -> str | None:
    """Return the name of the backend that is the log, or None without a log."""
    if settings.log == "none":
        return None
    if settings.log != "auto":
        return settings.log
    plugin = load_backend(settings.backend)
    if len(plugin.default_logs) == 1:
        return plugin.default_logs[0]
    if plugin.default_logs:
        return next(filter(_is_configured, plugin.default_logs), None)
    return settings.backend if issubclass(plugin, Log) else None


def _is_configured(name: str) -> bool:
    settings = BUILT_IN[name].settings if name in BUILT_IN else None
    # Without any of its variables a log is not loaded, and so neither are its libraries.
    if settings and not import_object(settings).is_set():
        return False
    # An automatic log is optional: its package may be missing.
    try:
        return load_backend(name).is_configured()
    except (BackendNotFoundError, BackendNotInstalledError):
        return False


def _as_log(settings: Settings, plugin: type[Plugin]) -> type[Log]:
    if not issubclass(plugin, Log):
        raise ConfigurationError(
            f"REALTIME_LOG={settings.log!r}: {plugin.__name__} is not a log. "
            "Use auto, none, or a backend that stores events, such as memory"
        )
    return plugin
