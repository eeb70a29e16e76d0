"""The contracts a backend must keep, as suites that pytest runs over yours.

    class TestMine(LogContract):
        @pytest_asyncio.fixture
        async def sender(self) -> AsyncIterator[Log]:
            async with MyBackend(...) as backend:
                yield backend

A suite has a *sender* and a *receiver*: they may be one object, or the views of two processes.
Install `realtime-bridge[testing]`, and put
`pytest.register_assert_rewrite("realtime_bridge.testing")` into your `conftest.py`, so that
a broken contract says which values differ.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_bridge.testing.contracts.backend import BackendContract as BackendContract
    from realtime_bridge.testing.contracts.feed import FeedContract as FeedContract
    from realtime_bridge.testing.contracts.log import LogContract as LogContract
    from realtime_bridge.testing.proxy import FaultyProxy as FaultyProxy

_HOMES = {
    "BackendContract": "contracts.backend",
    "FeedContract": "contracts.feed",
    "LogContract": "contracts.log",
    "FaultyProxy": "proxy",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 -- the list above is the one to keep


def __getattr__(name: str) -> object:
    """Import a suite when it is first used: what is not one runs without pytest too."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
