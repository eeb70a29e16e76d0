"""A Redis that the tests of this folder may stop, empty and start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.redis import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that loses nothing when it is stopped."""
    with RedisServer(tmp_path / "redis", "--save", "", "--appendonly", "yes") as server:
        yield server
