"""Who delivers events to browsers here: our own server, or a provider in its place."""

from dataclasses import dataclass

from realtime_bridge.backend.hosted import HostedBackend
from realtime_bridge.backend.push import Backend
from realtime_bridge.publishing.failover import Failover


@dataclass(frozen=True, slots=True)
class Carriers:
    """What a backend that pushes means for browsers.

    Args:
        backend: what pushes; None is our own server, which delivers from the log.

    """

    backend: Backend | None

    @property
    def failover(self) -> Failover | None:
        """What chooses, where there is more than one way."""
        return self.backend if isinstance(self.backend, Failover) else None

    @property
    def provider(self) -> HostedBackend | None:
        """Who delivers in our place now; None is ourselves."""
        active = self.failover.active.backend if self.failover else self.backend
        return active if isinstance(active, HostedBackend) else None

    @property
    def hosted(self) -> list[HostedBackend]:
        """All providers that may ever deliver in our place."""
        carriers = self.failover.targets if self.failover else ()
        backends = [carrier.backend for carrier in carriers] or [self.backend]
        return [backend for backend in backends if isinstance(backend, HostedBackend)]
