"""BlockingBroadcaster where gevent or eventlet replaced threads by greenlets."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime_bridge_backends.redis import RedisBackend
from tests.services.redis import RedisServer

PROGRAM = Path(__file__).with_name("greenlets.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), "--save", "") as server:
        yield server


# A name needs the resolver, which runs in a thread of its own.
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
async def test_greenlets_publish_side_by_side(server: RedisServer, library: str, host: str) -> None:
    with server.client() as client:
        client.flushall()
    url = f"redis://{host}:{server.port}/0"
    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(PROGRAM), library, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.stdout, result.returncode) == ("turns of others: True\n", 0), result.stderr
    assert "Traceback" not in result.stderr
    async with RedisBackend(server.url) as log:
        tops = await log.positions([f"user-{number}" for number in range(20)])
        assert {top.offset for top in tops.values()} == {5}
        jobs = {event.key: event for event in (await log.latest("user-job")).events}
    assert {event.data["state"] for event in jobs.values()} == {"completed"}
    assert len(jobs) == 20
