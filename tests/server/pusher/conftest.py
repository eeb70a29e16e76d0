"""Servers that speak Pusher's protocol."""

import pytest

from tests.server.harness import FAST, Serve, Site
from tests.server.pusher.clients import ENVIRONMENT


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the credentials of the app."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def shell() -> str:
    """Run each test over the shell of `serve`, which passes these paths on to the portable one."""
    return FAST


@pytest.fixture
async def site(serve: Serve) -> Site:
    """Start one server with Pusher's protocol."""
    return await serve(pusher_door=True)
