"""Rows change while relays, the server and PostgreSQL are killed: every change arrives, once."""

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
from tests.nodes.cluster import Fleet
from tests.nodes.load import FULL
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

CHANGES = 20_000 if FULL else 3_000
USERS, EACH = 10, 50
"""Users whose rows change, and changes of one statement."""

TIMEOUT = 120.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "postgres") as server:
        yield server


async def test_no_change_is_lost_and_none_comes_twice(
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
    with Fleet(1, folder=tmp_path, variables=variables) as fleet, ExitStack() as exits:
        working = exits.enter_context(relay(tmp_path, variables))
        await asyncio.to_thread(working.line, "relaying")
        exits.enter_context(relay(tmp_path, variables))
        address = f"http://127.0.0.1:{fleet.ports[0]}/realtime"
        channels = [f"user-{user}" for user in range(USERS)]
        token = Tokens(SECRET, issuer="realtime").issue("all", channels=channels, seconds=3_600)
        async with HybridClient(address, channels, token=token) as client:
            got = await collecting(client, channels)
            await change(url, 1, CHANGES // 4)
            working.kill()
            await change(url, CHANGES // 4, CHANGES // 2)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await change(url, CHANGES // 2, 3 * CHANGES // 4)
            fleet.kill(0)
            await change(url, 3 * CHANGES // 4, CHANGES + 1)
            await fleet.start(0)
            async with asyncio.timeout(TIMEOUT):
                seen = await got
    for user in range(USERS):
        own = [n for n in range(1, CHANGES + 1) if n // EACH % USERS == user]
        assert seen[f"user-{user}"] == own


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
    """Insert rows, a statement for each user in turn; one that fails is tried again."""
    for low in range(start - start % EACH, end, EACH):
        await insert(url, max(low, start), min(low + EACH, end))


async def insert(url: str, low: int, high: int) -> None:
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


async def collecting(
    client: HybridClient, channels: list[str]
) -> "asyncio.Task[dict[str, list[int]]]":
    """Begin to collect, once all channels are subscribed."""
    for _ in channels:
        await client.wait_subscribed()
    return asyncio.create_task(collect(client))


async def collect(client: HybridClient) -> dict[str, list[int]]:
    """Take what arrives until all changes have; a hole would be a failure."""
    seen: dict[str, list[int]] = {}
    count = 0
    async for item in client:
        assert isinstance(item, Event), f"a hole: {item}"
        seen.setdefault(item.channel, []).append(item.data["n"])
        count += 1
        if count == CHANGES:
            break
    return seen
