"""Redis server that a test of this folder stops, empties and starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.redis import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that keeps its data over a restart."""
    with RedisServer(tmp_path / "redis", "--save", "", "--appendonly", "yes") as server:
        yield server
