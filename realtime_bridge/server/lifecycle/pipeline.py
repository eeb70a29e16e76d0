"""Log and backend of the server, and the provider that delivers in place of the server."""

import hashlib

from realtime_bridge.backend.feed import Feed
from realtime_bridge.backend.hosted import HostedBackend
from realtime_bridge.backend.log import FoldingLog, Log
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.publishing.failover import Failover
from realtime_bridge.publishing.pipeline import PublishPipeline, log_name, server_pipeline
from realtime_bridge.server.lifecycle.null_log import NullLog
from realtime_bridge.settings import Settings


class ServerPipeline:
    """Log and broadcaster of the server, as the configuration describes them.

    Args:
        settings: the configuration.
        parts: the log and the backend.

    Raises:
        ConfigurationError: the log has no feed.

    """

    def __init__(self, settings: Settings, parts: PublishPipeline) -> None:
        # Without a log, a hosted provider may deliver: signal mode.
        is_signal_mode = parts.log is None and isinstance(parts.backend, HostedBackend)
        if not (isinstance(parts.log, Feed) or is_signal_mode):
            raise ConfigurationError(
                f"REALTIME_BACKEND={settings.backend!r} with REALTIME_LOG={settings.log!r} gives "
                "the server no log with a feed: set REALTIME_LOG=memory, sqlite, redis or postgres"
            )
        self._settings = settings
        self._log = log_name(settings)
        self._build(parts)

    def rebuild(self) -> None:
        """Make log and broadcaster again: their connections belong to another event loop."""
        self._build(server_pipeline(self._settings))

    @property
    def log_name(self) -> str:
        """The log without its address, which strangers must not see."""
        return f"the {self._log} log" if self._log else "no log"

    @property
    def failover(self) -> Failover | None:
        """The backend that chooses between several, if there is one."""
        backend = self.broadcaster.backend
        return backend if isinstance(backend, Failover) else None

    @property
    def provider(self) -> HostedBackend | None:
        """The provider that delivers now in place of the server, if there is one."""
        failover = self.failover
        backend = failover.active.backend if failover else self.broadcaster.backend
        return backend if isinstance(backend, HostedBackend) else None

    @property
    def members_provider(self) -> str | None:
        """The provider that delivers now and keeps the members of channels, if there is one."""
        provider = self.provider
        return provider.provider if provider and provider.keeps_members else None

    @property
    def has_presence(self) -> bool:
        """True if the log can keep the members of channels, or the provider does."""
        return isinstance(self.log, FoldingLog) or self.members_provider is not None

    @property
    def hosted_backends(self) -> list[HostedBackend]:
        """All providers that can deliver in place of the server."""
        targets = self.failover.targets if self.failover else ()
        backends = [target.backend for target in targets] or [self.broadcaster.backend]
        return [backend for backend in backends if isinstance(backend, HostedBackend)]

    @property
    def delivery(self) -> str:
        """The configuration of delivery; clients reconnect when it changes."""
        failover, provider = self.failover, self.provider
        # The parts of the descriptor: clients of another app or host of a provider have to move.
        parts = (
            self._settings.delivery,
            self._log,
            failover and failover.active.name,
            provider and (provider.provider, sorted(provider.options.items())),
            self.has_log,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def _build(self, parts: PublishPipeline) -> None:
        self.log: Log = parts.log or NullLog()
        self.has_log: bool = parts.log is not None
        """True if there is a log; without one, events are hints."""
        self.broadcaster: Broadcaster = Broadcaster(
            log=parts.log,
            backend=parts.backend,
            limit_event_bytes=self._settings.limit_event_bytes,
            large_integers=self._settings.large_integers,
            mirror=parts.mirror,
        )
