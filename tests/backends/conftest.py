"""Redis and PostgreSQL servers for the backends' tests."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from tests.services.postgres import PostgresServer
from tests.services.redis import RedisCluster, RedisServer

BOTH_LOOPS = ("test_resets",)
"""Tests that depend on the transports of the event loop."""


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these on asyncio's own loop, and on that of `realtime-bridge serve`."""
    if item.path.stem in BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one Redis, shared by tests that do not change it."""
    with RedisServer(tmp_path_factory.mktemp("redis"), "--save", "") as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Run a Cluster of three masters."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL, shared by tests that do not change it."""
    with PostgresServer() as server:
        yield server
