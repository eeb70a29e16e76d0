"""Changed rows arrive once each while relays, the server and PostgreSQL are killed."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from realtime_bridge import Event
from realtime_bridge.client import HybridClient
from realtime_bridge.postgres import triggers, watches
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import COMMAND, SECRET, Process
from tests.nodes.cluster import Cluster
from tests.nodes.load import FULL
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

CHANGES = 20_000 if FULL else 3_000
USERS, EACH = 10, 50
"""Number of users whose rows change, and of changes in one statement."""

TIMEOUT = 120.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


async def test_every_change_arrives_once_under_crashes(
    server: PostgresServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    url = server.database()
    watch_changes(url)
    variables = {
        "REALTIME_BACKEND": "redis",
        "REALTIME_REDIS_URL": redis_server.url,
        "REALTIME_POSTGRES_URL": url,
        "REALTIME_HISTORY_EVENTS": str(CHANGES),
        "REALTIME_HISTORY_BYTES": str(100 * 2**20),
        "REALTIME_SECRET": SECRET,
    }
    with Cluster(1, folder=tmp_path, variables=variables) as cluster, ExitStack() as exits:
        active_relay = exits.enter_context(relay(tmp_path, variables))
        await asyncio.to_thread(active_relay.line, "relaying")
        exits.enter_context(relay(tmp_path, variables))
        address = f"http://127.0.0.1:{cluster.ports[0]}/realtime"
        channels = [f"user-{user}" for user in range(USERS)]
        token = Tokens(SECRET, issuer="realtime").issue("all", channels=channels, seconds=3_600)
        async with HybridClient(address, channels, token=token) as client:
            collection = await start_collecting(client, channels)
            await change(url, 1, CHANGES // 4)
            active_relay.kill()
            await change(url, CHANGES // 4, CHANGES // 2)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await change(url, CHANGES // 2, 3 * CHANGES // 4)
            cluster.kill(0)
            await change(url, 3 * CHANGES // 4, CHANGES + 1)
            await cluster.start(0)
            async with asyncio.timeout(TIMEOUT):
                changes = await collection
    for user in range(USERS):
        own = [n for n in range(1, CHANGES + 1) if n // EACH % USERS == user]
        assert changes[f"user-{user}"] == own


def watch_changes(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE changes (n int PRIMARY KEY, user_id int)")
        table = watches.find_table(connection, "changes")
        rule = watches.create_watch(
            table, channel="user-{user_id}", event="row.{op}", columns=["n"]
        )
        for statement in triggers.create_triggers(rule, "realtime"):
            connection.execute(statement)


def relay(folder: Path, variables: dict[str, str]) -> Process:
    return Process(COMMAND, "relay", folder=folder, variables=variables)


async def change(url: str, start: int, end: int) -> None:
    """Insert rows, one statement for each user in turn."""
    for low in range(start - start % EACH, end, EACH):
        await insert(url, max(low, start), min(low + EACH, end))


async def insert(url: str, low: int, high: int) -> None:
    """Insert rows; repeat the statement while PostgreSQL is down."""
    rows = f"SELECT n, n / {EACH} % {USERS} FROM generate_series({low}, {high - 1}) AS n"
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(url) as connection:
                    await connection.execute(f"INSERT INTO changes {rows} ON CONFLICT DO NOTHING")
            except psycopg.OperationalError:
                await asyncio.sleep(0.1)
            else:
                return


async def start_collecting(
    client: HybridClient, channels: list[str]
) -> "asyncio.Task[dict[str, list[int]]]":
    """Start to collect events after the subscription of every channel."""
    for _ in channels:
        await client.wait_subscribed()
    return asyncio.create_task(collect(client))


async def collect(client: HybridClient) -> dict[str, list[int]]:
    """Return the numbers of all changes by channel; a reset fails the test."""
    changes: dict[str, list[int]] = {}
    count = 0
    async for item in client:
        assert isinstance(item, Event), f"unexpected reset: {item}"
        changes.setdefault(item.channel, []).append(item.data["n"])
        count += 1
        if count == CHANGES:
            break
    return changes
