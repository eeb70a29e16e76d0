"""Redis backend: contracts of a log and of a feed."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from msgspec import msgpack
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from realtime_bridge.model.retention import Retention
from realtime_bridge.settings import Settings
from realtime_bridge.testing import (
    FeedContract,
    FoldingLogContract,
    JoiningLogContract,
    LogContract,
)
from realtime_bridge.testing.contracts.folding_histories import Elapse
from realtime_bridge.testing.contracts.log_base import make_event
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


class TestJoiningLog(JoiningLogContract):
    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver


class TestFoldingLog(FoldingLogContract):
    @pytest.fixture
    def receiver(self, receiver: RedisBackend) -> RedisBackend:
        return receiver

    @pytest.fixture
    async def elapse(self, redis_server: RedisServer, channel: str) -> AsyncIterator[Elapse]:
        async with Redis.from_url(redis_server.url) as client:
            yield partial(shift_leases, client)


async def shift_leases(client: Redis | RedisCluster, channel: str, seconds: float) -> None:
    """Move the ends of all leases of a channel back, as if this time had passed."""
    prefix, milliseconds = f"realtime:{{{channel}}}", round(seconds * 1_000)
    leases: Any = await client.zrange(f"{prefix}:leases", 0, -1, withscores=True)
    for key, expires in leases:
        packed: Any = await client.hget(f"{prefix}:owned", key)
        record = {**msgpack.decode(packed), "expires": round(expires) - milliseconds}
        await client.hset(f"{prefix}:owned", key, msgpack.encode(record))
        await client.zadd(f"{prefix}:leases", {key: record["expires"]})
    if leases:
        least = round(min(expires for _, expires in leases)) - milliseconds
        await client.hset(f"{prefix}:meta", "lease_at", least)


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


async def test_largest_retention_takes_events(redis_server: RedisServer) -> None:
    settings = Settings(
        history_events=2**31 - 1, history_bytes=2**40, history_seconds=604_800, prefix="largest"
    )
    async with RedisBackend(
        redis_server.url, prefix=settings.prefix, retention=settings.retention
    ) as backend:
        for number in range(3):
            (receipt,) = await backend.append([make_event("user-42", number)])
        assert receipt.position
        assert receipt.position.offset == 3
