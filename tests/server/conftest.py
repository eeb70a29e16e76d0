"""What the tests of the server share."""

from collections.abc import AsyncIterator

import pytest

from tests.server.harness import Serve, Site, Sites


@pytest.fixture
async def serve(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Serve]:
    """Start servers; whatever a client did to them, none of their requests may have crashed."""
    async with Sites() as sites:
        yield sites.start
    said = [one.getMessage() for one in caplog.get_records("call") if one.name == "uvicorn.error"]
    assert not [message for message in said if message.startswith("Exception in ASGI")]


@pytest.fixture
async def site(serve: Serve) -> Site:
    """Start one server as it is by default."""
    return await serve()
