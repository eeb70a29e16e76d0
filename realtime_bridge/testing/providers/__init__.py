"""Local servers that implement the protocols of hosted providers, with switchable faults.

Each server is an async context manager that listens on a port of the loopback. It checks
signatures, enforces the provider's limits, and answers with the provider's status codes.
`environment` holds the variables of a deployment that uses the server.
`realtime-bridge dev-provider NAME` runs a server for a developer without an account.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from realtime_bridge.errors import ExtraNotInstalledError

if TYPE_CHECKING:
    from realtime_bridge.testing.providers.ably.server import LocalAbly as LocalAbly
    from realtime_bridge.testing.providers.faults import Faults as Faults
    from realtime_bridge.testing.providers.pusher.server import LocalPusher as LocalPusher

PROVIDERS = {"ably": "LocalAbly", "pusher": "LocalPusher"}
"""Classes of the local providers, by the name of the backend that uses each of them."""

_MODULES = {"Faults": "faults", "LocalAbly": "ably.server", "LocalPusher": "pusher.server"}


class LocalProvider(Protocol):
    """Interface that the local providers share."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables of a deployment that uses the provider."""

    @property
    def faults(self) -> "Faults":
        """Switches for the provider's faults."""


def local_provider(name: str, *, port: int = 0) -> AbstractAsyncContextManager[LocalProvider]:
    """Create the local provider of this name; port 0 is any free port."""
    provider: AbstractAsyncContextManager[LocalProvider] = getattr(
        import_module(__name__), PROVIDERS[name]
    )(port=port)
    return provider


__all__ = sorted(_MODULES)  # noqa: PLE0605 -- _MODULES is the single list of the names


def __getattr__(name: str) -> object:
    """Import a provider at its first use: each needs packages that the others do without."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        missing = error.name or "?"
        # Ably's SDK brings msgpack, which its protocol needs and no other part of ours.
        extra = "testing,ably" if name == "LocalAbly" else "testing"
        raise ExtraNotInstalledError("A local provider", missing=missing, extra=extra) from error
    return getattr(module, name)
