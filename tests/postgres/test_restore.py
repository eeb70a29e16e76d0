"""Dump and restore of a database with watched tables: triggers, watches and announcements."""

import asyncio
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema, triggers, watches
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.postgres import PostgresBackend
from tests.services.postgres import FOLDERS, PostgresServer
from tests.services.programs import find_program

RETENTION = Retention()


def watch(database: psycopg.Connection, table: str, event: str = "job.{op}") -> None:
    rule = watches.create_watch(
        watches.find_table(database, table), channel="user-{user_id}", event=event, columns=["id"]
    )
    with database.transaction():
        for statement in triggers.create_triggers(rule, "realtime"):
            database.execute(statement)


async def names(url: str) -> list[str]:
    """Return the names of the events on the channel of the rows."""
    async with PostgresBackend(url) as log:
        top = (await log.positions(["user-42"]))["user-42"]
        page = await log.read("user-42", Position(top.epoch, 0))
    assert isinstance(page, Page)
    return [event.event for event in page.events]


@pytest.fixture
def restored_url(server: PostgresServer, url: str) -> str:
    """Return the URL of a restored dump of a database with a watched table and an event."""
    with psycopg.connect(url, autocommit=True) as database:
        # Another table first: the restored tables have other numbers.
        database.execute("CREATE TABLE a (id int)")
        database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int)")
        database.execute("DROP TABLE a")
        watch(database, "jobs")
        database.execute("INSERT INTO jobs VALUES (1, 42)")
    name = f"{url.rpartition('/')[2]}_restored"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    restored = server.url(name)
    dump = subprocess.run(
        [find_program("pg_dump", *FOLDERS, package="postgresql"), url],
        check=True,
        capture_output=True,
    )
    psql = find_program("psql", *FOLDERS, package="postgresql")
    subprocess.run(
        [psql, "-v", "ON_ERROR_STOP=1", "-q", restored],
        input=dump.stdout,
        check=True,
        capture_output=True,
    )
    return restored


@pytest.fixture
def restored(restored_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(restored_url, autocommit=True) as connection:
        yield connection


async def test_restored_watch_publishes_and_can_be_replaced(
    restored: psycopg.Connection, restored_url: str
) -> None:
    (rule,) = watches.list_watches(restored, "realtime")
    assert (rule["table"], rule["problem"]) == ("jobs", None)
    restored.execute("INSERT INTO jobs VALUES (2, 42)")
    watch(restored, "jobs", event="new.{op}")
    restored.execute("INSERT INTO jobs VALUES (3, 42)")
    assert await names(restored_url) == ["job.insert", "job.insert", "new.insert"]


async def test_restored_watch_ends(restored: psycopg.Connection, restored_url: str) -> None:
    table = watches.find_watched_table(restored, "jobs", "realtime")
    assert table
    for statement in triggers.drop_triggers(table, "realtime"):
        restored.execute(statement)
    restored.execute("INSERT INTO jobs VALUES (2, 42)")
    assert await names(restored_url) == ["job.insert"]
    assert watches.list_watches(restored, "realtime") == []


async def test_restored_schema_is_installed_again(
    restored: psycopg.Connection, restored_url: str
) -> None:
    assert schema.install(restored, "realtime", RETENTION) == schema.VERSION
    restored.execute("UPDATE jobs SET id = 2")
    assert (await names(restored_url))[-1] == "job.update"


async def _turns(url: str, *, until: int) -> list[int]:
    """Return the steps that a listener receives while several are published."""
    received: list[int] = []
    async with PostgresBackend(url) as log, log.listen() as listener, asyncio.timeout(30):
        await listener.subscribe(["job.7", "job.8"])
        stream = aiter(listener)
        for step in range(2, until + 1):
            await log.append(numbered("job.7", 1, start=step))
            while step not in received:
                turn = await anext(stream)
                if not isinstance(turn, FeedInterrupted):
                    received += [event.data["step"] for event in turn]
    return received


@pytest.mark.parametrize("is_installed", [False, True])
async def test_transaction_ids_of_another_server_repeat_no_event(
    restored: psycopg.Connection, restored_url: str, *, is_installed: bool
) -> None:
    async with PostgresBackend(restored_url) as log:
        await log.append([*numbered("job.7", 1), *numbered("job.8", 1)])
    restored.execute(
        "UPDATE realtime.channels SET changed_by = '900000000', duplicate_by = '900000000', "
        "duplicate_offset = 1"
    )
    if is_installed:
        schema.install(restored, "realtime", RETENTION)
        query = "SELECT count(*) FROM realtime.channels WHERE changed_by > pg_current_xact_id()"
        assert restored.execute(query).fetchone() == (0,)
    assert await _turns(restored_url, until=6) == [2, 3, 4, 5, 6]
