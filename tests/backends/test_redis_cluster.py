"""Redis backend on a Cluster: contracts of a log and of a feed."""

from collections.abc import AsyncIterator

import pytest

from realtime_bridge.testing import FeedContract, LogContract
from realtime_bridge_backends.redis import RedisBackend
from tests.services.redis import RedisCluster


@pytest.fixture
async def sender(redis_cluster: RedisCluster) -> AsyncIterator[RedisBackend]:
    async with RedisBackend(redis_cluster.url) as backend:
        yield backend


@pytest.fixture
async def receiver(redis_cluster: RedisCluster) -> AsyncIterator[RedisBackend]:
    async with RedisBackend(redis_cluster.url) as backend:
        yield backend


class TestLog(LogContract):
    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver


class TestFeed(FeedContract):
    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver
