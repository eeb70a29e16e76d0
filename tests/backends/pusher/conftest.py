"""Fixtures of the Pusher backend."""

from collections.abc import AsyncIterator

import pytest_asyncio
from websockets.asyncio.client import connect

from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.pusher import PusherBackend
from tests.backends.pusher.pusher_backends import Listener, create_backend


@pytest_asyncio.fixture
async def pusher() -> AsyncIterator[LocalPusher]:
    async with LocalPusher() as pusher:
        yield pusher


@pytest_asyncio.fixture
async def backend(pusher: LocalPusher) -> AsyncIterator[PusherBackend]:
    async with create_backend(pusher) as backend:
        yield backend


@pytest_asyncio.fixture
async def listener(pusher: LocalPusher, backend: PusherBackend) -> AsyncIterator[Listener]:
    url = f"ws://127.0.0.1:{pusher.port}/app/{pusher.key}?protocol=7&client=test"
    async with connect(url, proxy=None) as socket:
        listener = Listener(socket)
        await listener.subscribe(pusher, backend, "job.7")
        yield listener
