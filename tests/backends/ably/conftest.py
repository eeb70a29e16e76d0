"""Fixtures of the Ably backend."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from ably import AblyRealtime

from realtime_bridge.testing.providers import LocalAbly
from realtime_bridge_backends.ably import AblyBackend
from tests.backends.ably.ably_backends import Listener, auth_request, create_backend


@pytest_asyncio.fixture
async def ably() -> AsyncIterator[LocalAbly]:
    async with LocalAbly() as ably:
        yield ably


@pytest_asyncio.fixture
async def backend(ably: LocalAbly) -> AsyncIterator[AblyBackend]:
    async with create_backend(ably) as backend:
        yield backend


@pytest_asyncio.fixture
async def listener(ably: LocalAbly, backend: AblyBackend) -> AsyncIterator[Listener]:
    async def callback(_: Any) -> Any:
        return await backend.authorize({"channels": "app:job.7 app:job.8"}, auth_request())

    client = AblyRealtime(auth_callback=callback, endpoint=f"127.0.0.1:{ably.port}", tls=False)
    listener = Listener(client)
    await listener.subscribe("job.7")
    yield listener
    await client.close()
