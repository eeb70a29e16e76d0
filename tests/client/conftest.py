"""A server, weather before it, and a client that loses no time."""

from collections.abc import AsyncIterator

import pytest

from realtime_bridge.protocol import backoff
from realtime_bridge.protocol.client import machine, reconnect_policy, transitions
from realtime_bridge.server.endpoints import poll as polls
from realtime_bridge.testing import FaultyProxy
from tests.client.servers import SECRET, Server, serving


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everybody impatient."""
    monkeypatch.setenv("REALTIME_SECRET", SECRET)
    monkeypatch.setattr(backoff, "delay", lambda *_, **__: 0.01)
    monkeypatch.setattr(reconnect_policy, "BAN_MS", 20)
    monkeypatch.setattr(reconnect_policy, "MAX_BAN_MS", 20)
    monkeypatch.setattr(reconnect_policy, "TIRED_MS", 20)
    monkeypatch.setattr(reconnect_policy, "RESTART_MS", 20)
    monkeypatch.setattr(machine, "FIRST_POLL_MS", 10)
    monkeypatch.setattr(machine, "NEXT_PAGE_MS", 5)
    monkeypatch.setattr(transitions, "FIRST_POLL_MS", 10)
    monkeypatch.setattr(transitions, "SLOW_MS", 200)
    monkeypatch.setattr(polls, "CACHE_SECONDS", 0.01)


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
