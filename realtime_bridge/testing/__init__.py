"""Contract suites for backends, and a proxy that injects network faults.

A backend passes a contract when pytest runs a subclass of its suite without failures:

    class TestMyBackend(LogContract):
        @pytest_asyncio.fixture
        async def sender(self) -> AsyncIterator[Log]:
            async with MyBackend(...) as backend:
                yield backend

A suite has a *sender* and a *receiver*: one object, or the views of two processes.
Install `realtime-bridge[testing]`, and put
`pytest.register_assert_rewrite("realtime_bridge.testing")` into your `conftest.py`: the
failures then show the values that differ.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_bridge.testing.contracts.backend import BackendContract as BackendContract
    from realtime_bridge.testing.contracts.feed import FeedContract as FeedContract
    from realtime_bridge.testing.contracts.folding import FoldingLogContract as FoldingLogContract
    from realtime_bridge.testing.contracts.joining import JoiningLogContract as JoiningLogContract
    from realtime_bridge.testing.contracts.log import LogContract as LogContract
    from realtime_bridge.testing.proxy import FaultyProxy as FaultyProxy

_MODULES = {
    "BackendContract": "contracts.backend",
    "FeedContract": "contracts.feed",
    "FoldingLogContract": "contracts.folding",
    "JoiningLogContract": "contracts.joining",
    "LogContract": "contracts.log",
    "FaultyProxy": "proxy",
}

__all__ = sorted(_MODULES)  # noqa: PLE0605 -- _MODULES is the single list of the names


def __getattr__(name: str) -> object:
    """Import a suite at its first use: the other parts of the package need no pytest."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
