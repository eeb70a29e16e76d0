"""Server of a bridge, and a proxy before it that fails on demand."""

from collections.abc import AsyncIterator

import pytest

from realtime_bridge.testing import FaultyProxy
from tests.client.servers import SECRET, Server, serving


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_SECRET", SECRET)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def url(proxy: FaultyProxy) -> str:
    return f"{proxy.url}/realtime"
