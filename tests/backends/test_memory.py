"""The memory backend keeps the contracts of a log and of a feed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, AsyncExitStack

import pytest

from realtime_bridge.backend import Interrupted
from realtime_bridge.testing import FeedContract, LogContract
from realtime_bridge_backends import memory
from realtime_bridge_backends.memory import MemoryBackend


class TestTheLog(LogContract):
    @pytest.fixture
    async def sender(self) -> AsyncIterator[MemoryBackend]:
        async with MemoryBackend() as backend:
            yield backend


class TestTheFeed(FeedContract):
    @pytest.fixture
    async def sender(self) -> AsyncIterator[MemoryBackend]:
        async with MemoryBackend() as backend:
            yield backend

    @pytest.fixture
    def receiver(self, sender: MemoryBackend) -> MemoryBackend:
        return sender
