"""Local stand-ins for hosted providers: the real protocols, with faults at the turn of a switch.

Each is an async context manager that listens on a port of the loopback, checks signatures, keeps
the provider's limits, and answers with its status codes. `environment` is what a deployment that
uses it sets. `realtime-bridge dev-provider NAME` runs one for a developer without an account.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from realtime_bridge.errors import ExtraNotInstalledError

if TYPE_CHECKING:
    from realtime_bridge.testing.providers.ably import LocalAbly as LocalAbly
    from realtime_bridge.testing.providers.faults import Faults as Faults
    from realtime_bridge.testing.providers.pusher import LocalPusher as LocalPusher

PROVIDERS = {"ably": "LocalAbly", "pusher": "LocalPusher"}
"""The classes of the local providers, by the backend that uses them."""

_HOMES = {"Faults": "faults", "LocalAbly": "ably", "LocalPusher": "pusher"}


class LocalProvider(Protocol):
    """What all of them are."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What a deployment sets to use it."""

    @property
    def faults(self) -> "Faults":
        """What goes wrong there."""


def local_provider(name: str, *, port: int = 0) -> AbstractAsyncContextManager[LocalProvider]:
    """Make the local provider of this name; 0 is any free port."""
    made: AbstractAsyncContextManager[LocalProvider] = getattr(
        import_module(__name__), PROVIDERS[name]
    )(port=port)
    return made


__all__ = sorted(_HOMES)  # noqa: PLE0605 -- the list above is the one to keep


def __getattr__(name: str) -> object:
    """Import a provider when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        missing = error.name or "?"
        raise ExtraNotInstalledError(
            "A local provider", missing=missing, extra="testing"
        ) from error
    return getattr(module, name)
