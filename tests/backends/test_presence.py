"""Presence on several servers: one list over each log, and a killed server whose members leave."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.client import PresenceReader, open_presence
from realtime_bridge.publishing.pipeline import PublishPipeline
from realtime_bridge.server import Bridge
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.settings import Settings
from realtime_bridge.testing.contracts.samples import new_channel
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.client.servers import SECRET, serving, token
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

TIMEOUT = 60.0
LEASE = 5
QUICK = ServerTiming(presence_lease=LEASE, presence_stay=0.1, position_check=0.5)
NODE = f"""
import asyncio, sys
from realtime_bridge.server import Bridge
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.publishing.pipeline import PublishPipeline
from realtime_bridge.settings import Settings
from realtime_bridge_backends.redis import RedisBackend
import uvicorn

url, port = sys.argv[1:]
timing = ServerTiming(presence_lease={LEASE}, presence_renewal=0.5, position_check=0.5)
pipeline = PublishPipeline(log=RedisBackend(url), backend=None)
bridge = Bridge(Settings(secret={SECRET!r}), timing=timing, pipeline=pipeline)
uvicorn.run(bridge, port=int(port), log_level="warning")
"""

Connect = Callable[[], FoldingLog]


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def connect_log(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
    tmp_path: Path,
) -> Connect:
    """Return a function that connects a server to one log."""
    if request.param == "redis":
        return lambda: RedisBackend(redis_server.url)
    if request.param == "postgres":
        database = postgres_server.database()
        return lambda: PostgresBackend(database)
    if request.param == "sqlite":
        return lambda: SQLiteBackend(tmp_path / "events.db")
    memory = MemoryBackend()  # one server alone
    return lambda: memory


@pytest.fixture
async def urls(connect_log: Connect) -> AsyncIterator[list[str]]:
    """Serve two nodes, or one over a log in memory, and yield two URLs."""
    async with AsyncExitStack() as exits:
        urls: list[str] = []
        for _ in range(2):
            log = connect_log()
            if urls and isinstance(log, MemoryBackend):
                urls *= 2
                break
            settings = Settings(secret=SECRET)
            pipeline = PublishPipeline(log=log, backend=None)
            server = await exits.enter_async_context(
                serving(Bridge(settings, timing=QUICK, pipeline=pipeline))
            )
            urls.append(f"http://127.0.0.1:{server.port}/realtime")
        yield urls


def reader(url: str, user: str, channel: str) -> PresenceReader:
    return open_presence(url, channel, token=token(user, channels=["*"]))


async def present(presence: PresenceReader, *expected: str) -> None:
    """Wait until these users are present; each joins once at most."""
    joined: list[tuple[str, str]] = []
    while users(presence) != list(expected):
        joined.append(await change(presence))
    assert joined == [("joined", user) for user in dict.fromkeys(user for _, user in joined)]


async def change(presence: PresenceReader) -> tuple[str, str]:
    async with asyncio.timeout(TIMEOUT):
        one = await anext(presence)
        return one.kind, one.member.user


def users(presence: PresenceReader) -> list[str]:
    return sorted(member.user for member in presence.members)


async def test_members_are_the_same_on_all_servers(urls: list[str]) -> None:
    channel = new_channel()
    async with reader(urls[0], "ada", channel) as ada:
        await present(ada, "ada")
        async with reader(urls[1], "bob", channel) as bob, reader(urls[0], "bob", channel):
            await present(bob, "ada", "bob")
            assert await change(ada) == ("joined", "bob")
        assert await change(ada) == ("left", "bob")
        assert (users(ada), ada.count) == (["ada"], 1)


@pytest.fixture
def nodes(redis_server: RedisServer) -> Iterator[dict[str, int]]:
    """Start two processes over one Redis, and yield the process id of each URL."""
    ports = [free_port(), free_port()]
    processes = [
        subprocess.Popen([sys.executable, "-c", NODE, redis_server.url, str(port)])
        for port in ports
    ]
    urls = [f"http://127.0.0.1:{port}/realtime" for port in ports]
    yield dict(zip(urls, [process.pid for process in processes], strict=True))
    for process in processes:
        process.kill()
        process.wait()


async def test_members_of_a_killed_server_leave(nodes: dict[str, int]) -> None:
    channel = new_channel()
    living, killed = nodes
    async with (
        reader(living, "ada", channel) as ada,
        reader(killed, "bob", channel),
        reader(living, "bob", channel),
        reader(killed, "cyd", channel),
    ):
        await present(ada, "ada", "bob", "cyd")
        os.kill(nodes[killed], signal.SIGKILL)
        # Bob has another page, at the server that lives.
        assert await change(ada) == ("left", "cyd")
        assert users(ada) == ["ada", "bob"]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
