"""Nodes, workers and clients on one Redis, under failures of nodes and of Redis."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from realtime_bridge import Broadcaster
from realtime_bridge.testing import FaultyProxy
from realtime_bridge_backends.redis import RedisBackend
from tests.nodes.load import EVENTS, FULL, WORKERS, Load, load
from tests.services.redis import RedisPair, RedisServer


def variables(url: str) -> dict[str, str]:
    return {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": url}


def on_redis(
    url: str, folder: Path, *, own: Mapping[int, Mapping[str, str]] | None = None
) -> AbstractAsyncContextManager[Load]:
    return load(RedisBackend(url), variables(url), folder, own=own)


async def test_each_client_gets_each_event_once_and_in_order(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with on_redis(redis_server.url, tmp_path) as active_load:
        pass
    assert active_load.clients.resets == []
    assert active_load.published.retries == 0
    assert sum(map(len, active_load.published.ids.values())) == WORKERS * EVENTS


async def test_redis_restart_with_data_loses_no_event(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with on_redis(redis_server.url, tmp_path) as active_load:
        await asyncio.to_thread(redis_server.stop)
        await asyncio.to_thread(redis_server.start)
    assert active_load.clients.resets == []


async def test_node_recovers_every_event_after_a_silent_redis(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with FaultyProxy(redis_server.port) as proxy:
        silent = {0: variables(proxy.url.replace("http", "redis"))}
        async with on_redis(redis_server.url, tmp_path, own=silent) as active_load:
            proxy.swallow()
            await asyncio.sleep(20 if FULL else 6)  # the length of the outage
            proxy.heal()
            proxy.drop()
    assert active_load.clients.resets == []


async def test_failover_with_lost_writes_merges_no_histories(
    tmp_path: Path,
) -> None:
    with RedisPair(tmp_path / "pair") as pair:
        async with (
            on_redis(pair.url, tmp_path) as active_load,
            Broadcaster(log=RedisBackend(pair.url)) as broadcaster,
        ):
            pair.stop_replication()
            await active_load.until_one_more(broadcaster)  # which the replica never has
            pair.master.kill()
    assert {reset.reason for reset in active_load.clients.resets} <= {"regressed", "epoch", "ahead"}
    assert active_load.clients.resets
