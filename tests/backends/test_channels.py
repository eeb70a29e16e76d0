"""List of a log's channels, by which a deployment moves to another log."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema
from realtime_bridge.testing.contracts.samples import new_channel, numbered
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisCluster, RedisServer


@pytest.fixture(params=["memory", "sqlite", "redis", "redis_cluster", "postgres"])
async def logs(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[ListableLog, ListableLog]]:
    """Logs of two applications that share a server."""
    first: ListableLog
    second: ListableLog
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.database()
        with psycopg.connect(url) as connection:
            schema.install(connection, "other", Retention())
        first, second = PostgresBackend(url), PostgresBackend(url, prefix="other")
    elif request.param == "memory":
        first, second = MemoryBackend(), MemoryBackend()
    elif request.param == "sqlite":
        first, second = (SQLiteBackend(tmp_path / name) for name in ("one.db", "two.db"))
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


async def test_stored_channels_are_those_with_events(
    logs: tuple[ListableLog, ListableLog],
) -> None:
    log, _ = logs
    names = [new_channel() for _ in range(3)]
    await log.positions(names)
    await log.append(numbered(names[0], 1))
    assert set(names) <= set(await log.channels())
    assert set(names) & set(await log.channels(stored=True)) == {names[0]}


async def test_oldest_events_are_read_without_a_position(
    logs: tuple[ListableLog, ListableLog],
) -> None:
    log, _ = logs
    empty, full = new_channel(), new_channel()
    top = (await log.positions([empty]))[empty]
    assert await log.oldest(empty) == Page(events=(), top=top)
    for start in range(0, 1_500, 500):
        await log.append(numbered(full, 500, start=start))
    page = await log.oldest(full, 2)
    assert isinstance(page, Page)
    first, second = [event.position for event in page.events]
    assert first
    assert second
    assert (second.offset, page.more) == (first.offset + 1, True)
    assert first.offset > 1
    before = Position(first.epoch, first.offset - 1)
    assert isinstance(await log.read(full, before), Reset)
    rest = await log.read(full, first, 1)
    assert isinstance(rest, Page)
    assert rest.events == page.events[1:]
