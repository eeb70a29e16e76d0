"""List of a log's channels, by which a deployment moves to another log."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema
from realtime_bridge.testing.contracts.samples import new_channel, numbered
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisCluster, RedisServer


@pytest.fixture(params=["redis", "redis_cluster", "postgres"])
async def logs(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ListableLog, ListableLog]]:
    """Logs of two applications that share a server."""
    first: ListableLog
    second: ListableLog
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.database()
        with psycopg.connect(url) as connection:
            schema.install(connection, "other", Retention())
        first, second = PostgresBackend(url), PostgresBackend(url, prefix="other")
    else:
        name = "redis_server" if request.param == "redis" else "redis_cluster"
        redis: RedisServer | RedisCluster = request.getfixturevalue(name)
        first, second = (RedisBackend(redis.url, prefix=prefix) for prefix in ("one", "one-two"))
    async with first, second:
        yield first, second


async def test_channels_lists_those_of_its_own_prefix(
    logs: tuple[ListableLog, ListableLog],
) -> None:
    first, second = logs
    names = sorted(f"{new_channel()}=@,.;-{number}" for number in range(20))
    for name in names:
        await first.append(numbered(name, 1))
    other = new_channel()
    await second.append(numbered(other, 1))
    await first.generation("a configuration")
    assert sorted(await first.channels()) == names
    assert other in await second.channels()
