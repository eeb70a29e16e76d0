"""Backend through which this program connects to a hosted provider."""

import logging

from realtime_bridge.backend import plugins
from realtime_bridge.backend.hosted import ListenableBackend
from realtime_bridge.errors import ConfigurationError

_logger = logging.getLogger("realtime_bridge.client")


def listenable_backend(provider: str) -> type[ListenableBackend] | None:
    """Return the backend that connects to a provider; None where none is installed."""
    try:
        backend = plugins.load_backend(provider)
    except ConfigurationError as error:
        _logger.info("no connection to the provider: provider=%s error=%r", provider, error)
        return None
    return backend if issubclass(backend, ListenableBackend) else None
