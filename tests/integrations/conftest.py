"""Redis server that is the broker and the log."""

from collections.abc import AsyncIterator, Iterator

import pytest

from realtime_bridge_backends.redis import RedisBackend
from tests.services.redis import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Redis for the tests of one module."""
    with RedisServer(tmp_path_factory.mktemp("redis"), "--save", "") as server:
        yield server


@pytest.fixture(scope="module")
def variables(server: RedisServer) -> dict[str, str]:
    """Return the environment of workers and clients."""
    return {
        "REALTIME_BACKEND": "redis",
        "REALTIME_REDIS_URL": server.url,
        "QUEUE_REDIS_URL": server.url,
    }


@pytest.fixture
async def log(server: RedisServer) -> AsyncIterator[RedisBackend]:
    """Return the log of the jobs."""
    async with RedisBackend(server.url) as backend:
        yield backend
