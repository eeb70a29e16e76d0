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

from realtime_bridge.testing.backend import BackendContract
from realtime_bridge.testing.feed import FeedContract
from realtime_bridge.testing.log import LogContract
from realtime_bridge.testing.proxy import FaultyProxy

__all__ = ["BackendContract", "FaultyProxy", "FeedContract", "LogContract"]
