"""Fixtures of the server's tests."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tests.server.harness import FAST, PORTABLE, Serve, Site, Sites

BOTH_LOOPS = ("test_conformance", "test_slow_readers", "test_tls")
"""Tests that depend on the transports of the event loop."""


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these on asyncio's own loop, and on that of `realtime-bridge serve`."""
    if item.path.stem in BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(params=[PORTABLE, FAST], ids=["asgi", "fast"])
def shell(request: pytest.FixtureRequest) -> str:
    """Run each test over both shells."""
    return str(request.param)


@pytest.fixture
async def serve(shell: str, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Serve]:
    """Start servers; whatever a client did to them, none of their requests may have crashed."""
    async with Sites(shell) as sites:
        yield sites.start
    messages = [
        one.getMessage() for one in caplog.get_records("call") if one.name == "uvicorn.error"
    ]
    assert not [message for message in messages if message.startswith("Exception in ASGI")]


@pytest.fixture
async def site(serve: Serve) -> Site:
    """Start one server as it is by default."""
    return await serve()
