"""Redis backend on a Cluster: contracts of a log and of a feed."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
from redis.asyncio.cluster import RedisCluster as AsyncCluster

from realtime_bridge.testing import (
    FeedContract,
    FoldingLogContract,
    JoiningLogContract,
    LogContract,
)
from realtime_bridge.testing.contracts.folding_histories import Elapse
from realtime_bridge_backends.redis import RedisBackend, RedisTiming
from tests.backends.test_redis import shift_leases
from tests.services.redis import RedisCluster

# Each test opens connections to three servers: on a busy machine that may take longer than 4 s.
PATIENT = RedisTiming(connect_seconds=30.0, call_seconds=30.0, subscribe_seconds=30.0)


@pytest.fixture
async def sender(redis_cluster: RedisCluster) -> AsyncIterator[RedisBackend]:
    async with RedisBackend(redis_cluster.url, timing=PATIENT) as backend:
        yield backend


@pytest.fixture
async def receiver(redis_cluster: RedisCluster) -> AsyncIterator[RedisBackend]:
    async with RedisBackend(redis_cluster.url, timing=PATIENT) as backend:
        yield backend


class TestLog(LogContract):
    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver


class TestJoiningLog(JoiningLogContract):
    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver


class TestFoldingLog(FoldingLogContract):
    histories = range(2)

    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver

    @pytest.fixture
    async def elapse(self, redis_cluster: RedisCluster) -> AsyncIterator[Elapse]:
        port = redis_cluster.servers[0].port
        async with AsyncCluster(host="127.0.0.1", port=port) as client:
            yield partial(shift_leases, client)


class TestFeed(FeedContract):
    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver
