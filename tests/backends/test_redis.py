"""Redis backend: contracts of a log and of a feed."""

from collections.abc import AsyncIterator

import pytest

from realtime_bridge.model.retention import Retention
from realtime_bridge.testing import FeedContract, LogContract
from realtime_bridge_backends.redis import RedisBackend
from tests.services.redis import RedisServer


@pytest.fixture
async def sender(redis_server: RedisServer) -> AsyncIterator[RedisBackend]:
    async with RedisBackend(redis_server.url) as backend:
        yield backend


@pytest.fixture
async def receiver(redis_server: RedisServer) -> AsyncIterator[RedisBackend]:
    async with RedisBackend(redis_server.url) as backend:
        yield backend


class TestLog(LogContract):
    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver


class TestLogWithShortHistory(LogContract):
    history_events = 600

    @pytest.fixture
    async def sender(self, redis_server: RedisServer) -> AsyncIterator[RedisBackend]:
        async with RedisBackend(redis_server.url, retention=Retention(events=600)) as backend:
            yield backend


class TestFeed(FeedContract):
    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver
