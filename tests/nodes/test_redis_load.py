"""Many nodes, workers and clients on one Redis, and something breaks: nothing lost, or twice."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from realtime_bridge.testing import FaultyProxy
from realtime_bridge_backends.redis import RedisBackend
from tests.nodes.load import CHANNELS, EVENTS, FULL, WORKERS, Load, load
from tests.services.redis import RedisPair, RedisServer


def variables(url: str) -> dict[str, str]:
    return {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": url}


def on_redis(
    url: str, folder: Path, *, own: Mapping[int, Mapping[str, str]] | None = None
) -> AbstractAsyncContextManager[Load]:
    return load(RedisBackend(url), variables(url), folder, own=own)


async def test_every_client_gets_each_event_of_its_channels_once_and_in_order(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with on_redis(redis_server.url, tmp_path) as running:
        pass
    assert running.audience.resets == []
    assert running.published.refused == 0
    assert sum(map(len, running.published.ids.values())) == WORKERS * EVENTS


async def test_the_clients_of_a_node_that_is_killed_move_to_the_other(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with on_redis(redis_server.url, tmp_path) as running:
        running.fleet.kill(0)
    assert running.audience.resets == []


async def test_a_redis_that_is_restarted_with_its_data_loses_nothing(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with on_redis(redis_server.url, tmp_path) as running:
        await asyncio.to_thread(redis_server.stop)
        await asyncio.to_thread(redis_server.start)
    assert running.audience.resets == []


async def test_a_redis_that_is_restarted_without_its_data_resets_every_channel(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with on_redis(redis_server.url, tmp_path) as running:
        await asyncio.to_thread(redis_server.stop)
        redis_server.delete_data()
        await asyncio.to_thread(redis_server.start)
    resets = running.audience.resets
    assert {reset.channel for reset in resets} == {*CHANNELS}
    assert {reset.reason for reset in resets} == {"epoch"}


async def test_a_node_whose_redis_falls_silent_recovers_all_when_it_is_back(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with FaultyProxy(redis_server.port) as proxy:
        silent = {0: variables(proxy.url.replace("http", "redis"))}
        async with on_redis(redis_server.url, tmp_path, own=silent) as running:
            proxy.swallow()
            await asyncio.sleep(20 if FULL else 6)  # the fault itself is that long
            proxy.heal()
            proxy.drop()
    assert running.audience.resets == []


async def test_a_failover_that_loses_the_last_writes_merges_no_two_histories(
    tmp_path: Path,
) -> None:
    with RedisPair(tmp_path / "pair") as pair:
        async with on_redis(pair.url, tmp_path) as running:
            pair.stop_replication()
            await running.under_way(1 / 2)
            pair.master.kill()
    assert {reset.reason for reset in running.audience.resets} <= {"regressed", "epoch", "ahead"}
    assert running.audience.resets
