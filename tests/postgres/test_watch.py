"""Watched tables: changed rows become events in the same transaction."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from realtime_bridge import ConfigurationError, Event
from realtime_bridge.model.event import MAX_DATA_BYTES
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema, triggers, watches
from realtime_bridge_backends.postgres import PostgresBackend

JOBS = "CREATE TABLE jobs (id int PRIMARY KEY, user_id int, status text, note text)"


@pytest.fixture
async def log(url: str) -> AsyncIterator[PostgresBackend]:
    async with PostgresBackend(url) as backend:
        yield backend


def watch(database: psycopg.Connection, table: str, **templates: str) -> None:
    """Watch a table as `realtime-bridge postgres watch` does."""
    columns = templates.pop("columns", "").split()
    options = {"channel": "user-{user_id}", "event": "job.{op}", **templates}
    rule = watches.create_watch(watches.find_table(database, table), columns=columns, **options)
    with database.transaction():
        for statement in triggers.create_triggers(rule, "realtime"):
            database.execute(statement)


async def events_of(log: PostgresBackend, channel: str) -> list[Event]:
    top = (await log.positions([channel]))[channel]
    page = await log.read(channel, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return list(page.events)


async def changes(log: PostgresBackend, channel: str = "user-42") -> list[tuple[str, object]]:
    return [(event.event, event.data) for event in await events_of(log, channel)]


async def test_each_change_of_a_row_makes_an_event(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    watch(database, "jobs", columns="id status", key="job-{id}")
    database.execute("INSERT INTO jobs VALUES (1, 42, 'queued', 'a')")
    database.execute("UPDATE jobs SET status = 'running' WHERE id = 1")
    database.execute("DELETE FROM jobs WHERE id = 1")
    assert await changes(log) == [
        ("job.insert", {"id": 1, "status": "queued"}),
        ("job.update", {"id": 1, "status": "running"}),
        ("job.delete", {"id": 1, "status": "running"}),
    ]
    assert [event.key for event in (await log.latest("user-42")).events] == ["job-1"]


async def test_update_of_unpublished_columns_makes_no_event(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    database.execute("INSERT INTO jobs VALUES (1, 42, 'queued', 'a')")
    watch(database, "jobs", columns="id status")
    database.execute("UPDATE jobs SET note = 'b'")
    database.execute("UPDATE jobs SET status = 'queued'")
    assert await changes(log) == []
    database.execute("UPDATE jobs SET user_id = 43")
    assert len(await changes(log, "user-43")) == 1


async def test_changed_primary_key_makes_an_event(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    database.execute("INSERT INTO jobs VALUES (1, 42, 'queued', 'a')")
    watch(database, "jobs", columns="id status")
    database.execute("UPDATE jobs SET id = 2")
    assert await changes(log) == [("job.update", {"id": 2, "status": "queued"})]


async def test_columns_without_equality_are_compared(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int, a json, b point, c xml)")
    watch(database, "jobs")
    database.execute("INSERT INTO jobs VALUES (1, 42, '[1]', '(1,2)', '<a/>')")
    database.execute("UPDATE jobs SET a = '[1]', b = '(1,2)', c = '<a/>'")
    database.execute("UPDATE jobs SET a = NULL")
    assert [data["a"] for _, data in await changes(log)] == [[1], None]  # type: ignore[index]


async def test_rolled_back_change_makes_no_event(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    watch(database, "jobs", columns="id")
    with database.transaction() as transaction:
        database.execute("INSERT INTO jobs VALUES (1, 42, 'queued', '')")
        raise psycopg.Rollback(transaction)
    assert await changes(log) == []


async def test_bulk_change_is_in_order_per_channel(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    watch(database, "jobs", columns="id")
    database.execute(
        "INSERT INTO jobs SELECT n, n % 2, 'queued', '' FROM generate_series(1, 900) n"
    )
    for user in (0, 1):
        events = await events_of(log, f"user-{user}")
        assert [event.data["id"] for event in events] == [*range(2 - user, 901, 2)]


async def test_row_without_channel_is_skipped(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id text)")
    watch(database, "jobs")
    notices: list[str] = []
    database.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    database.execute("INSERT INTO jobs VALUES (1, NULL), (2, 'no channel!'), (3, '42')")
    assert await changes(log) == [("job.insert", {"id": 3, "user_id": "42"})]
    assert notices == ["realtime: 1 rows of jobs name no channel"]


@pytest.mark.parametrize("count", [1, 50, 51, 200, 1_600])
async def test_wide_table_is_watched(
    database: psycopg.Connection, log: PostgresBackend, count: int
) -> None:
    kinds = ("int", "text", "jsonb", "timestamptz", "numeric", "uuid", "bytea", "point", "text[]")
    names = ["user_id", *(f"column_{n}" for n in range(1, count))]
    columns = [f"{name} {kinds[n % len(kinds)]}" for n, name in enumerate(names)]
    database.execute(f"CREATE TABLE jobs ({', '.join(columns)})")
    watch(database, "jobs")
    database.execute("INSERT INTO jobs (user_id) VALUES (42)")
    database.execute(f"UPDATE jobs SET {names[-1]} = {names[-1]}")
    database.execute("DELETE FROM jobs")
    row = dict.fromkeys(names) | {"user_id": 42}
    assert await changes(log) == [(f"job.{op}", row) for op in ("insert", "update", "delete")]
    events = await events_of(log, "user-42")
    assert [list(event.data) for event in events] == [names] * 3, "the columns' order is kept"


async def test_updated_wide_table_with_primary_key_is_compared(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    columns = ", ".join(f"column_{n} int" for n in range(1_598))
    database.execute(f"CREATE TABLE jobs (id int PRIMARY KEY, user_id int, {columns})")
    watch(database, "jobs")
    database.execute("INSERT INTO jobs (id, user_id) VALUES (1, 42)")
    database.execute("UPDATE jobs SET column_1597 = column_1597")
    database.execute("UPDATE jobs SET column_1597 = 7")
    assert [name for name, _ in await changes(log)] == ["job.insert", "job.update"]


async def test_statement_succeeds_after_watched_column_is_dropped(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    watch(database, "jobs")
    notices: list[str] = []
    database.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    database.execute("ALTER TABLE jobs DROP COLUMN note")
    database.execute("INSERT INTO jobs VALUES (1, 42, 'queued')")
    assert database.execute("SELECT id FROM jobs").fetchall() == [(1,)]
    (notice,) = notices
    assert notice.startswith("realtime: changes of jobs are not published: column")
    schema.install(database, "realtime", Retention())
    database.execute("UPDATE jobs SET status = 'done'")
    assert await changes(log) == [("job.update", {"id": 1, "user_id": 42, "status": "done"})]


async def test_row_with_unreadable_json_is_skipped(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int, data json)")
    watch(database, "jobs")
    notices: list[str] = []
    database.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    database.execute(
        r"""INSERT INTO jobs VALUES (1, 42, '"\ud800"'), (2, 42, '1e999'), (3, 42, '[ 1 ]')"""
    )
    assert await changes(log) == [("job.insert", {"id": 3, "user_id": 42, "data": [1]})]
    assert notices == ["realtime: 2 rows of jobs have JSON that no client reads"]


async def test_unprintable_key_and_name_are_replaced(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (id text, user_id int)")
    watch(database, "jobs", event="job.{id}", key="job-{id}")
    database.execute("INSERT INTO jobs VALUES (E'a\\tb\\u200d', 42)")
    (event,) = await events_of(log, "user-42")
    assert (event.event, event.key) == ("job.a\ufffdb\ufffd", "job-a\ufffdb\ufffd")


async def test_reserved_channel_is_skipped(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (user_id text)")
    watch(database, "jobs", channel="{user_id}")
    database.execute("INSERT INTO jobs VALUES ('private-42'), ('user-42')")
    assert len(await changes(log)) == 1


async def test_too_large_row_is_reduced_to_its_primary_key(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    watch(database, "jobs")
    database.execute("INSERT INTO jobs VALUES (1, 42, 'x', repeat('x', %s))", [MAX_DATA_BYTES])
    assert await changes(log) == [("job.insert", {"id": 1})]


async def test_any_quotable_name_works(database: psycopg.Connection, log: PostgresBackend) -> None:
    database.execute('CREATE SCHEMA "My ""App"')
    table = '"My ""App"."Select; DROP"'
    database.execute(f"""CREATE TABLE {table} ("Id" int PRIMARY KEY, "order" int, "a'b\\" text)""")
    watch(database, table, channel="user-{order}", event="$realtime$ {op}'", key="{a'b\\}")
    database.execute(f"INSERT INTO {table} VALUES (1, 42, 'it''s')")
    database.execute(f"""UPDATE {table} SET "a'b\\" = 'ü'""")
    events = await events_of(log, "user-42")
    assert [event.data["a'b\\"] for event in events] == ["it's", "ü"]
    assert [event.event for event in events] == ["$realtime$ insert'", "$realtime$ update'"]
    assert [event.key for event in events] == ["it's", "ü"]


async def test_without_primary_key_every_update_makes_an_event(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (user_id int, status text)")
    watch(database, "jobs")
    database.execute("INSERT INTO jobs VALUES (42, 'queued')")
    database.execute("UPDATE jobs SET status = status")
    assert [name for name, _ in await changes(log)] == ["job.insert", "job.update"]


async def test_second_watch_replaces_and_unwatch_removes(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    watch(database, "jobs", event="old.{op}")
    watch(database, "jobs", event="new.{op}", columns="id")
    assert [rule["event"] for rule in watches.list_watches(database, "realtime")] == ["new.{op}"]
    database.execute("INSERT INTO jobs VALUES (1, 42, 'queued', '')")
    for statement in triggers.drop_triggers(watches.find_table(database, "jobs"), "realtime"):
        database.execute(statement)
    database.execute("INSERT INTO jobs VALUES (2, 42, 'queued', '')")
    assert await changes(log) == [("new.insert", {"id": 1})]
    assert watches.list_watches(database, "realtime") == []


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ({"channel": "everybody"}, "names no column"),
        ({"channel": "user-{missing}"}, "no column 'missing'"),
        ({"channel": "user-{user_id"}, "write it like"),
        ({"event": "{}"}, "no column ''"),
        ({"columns": "id nothing"}, "no column 'nothing'"),
        ({"key": "{none}"}, "no column 'none'"),
    ],
)
def test_invalid_template_is_rejected(
    database: psycopg.Connection, templates: dict[str, str], message: str
) -> None:
    database.execute(JOBS)
    with pytest.raises(ConfigurationError, match=message):
        watch(database, "jobs", **templates)


@pytest.mark.parametrize("name", ["nothing", "a view", "no; SQL", "the_view"])
def test_name_without_table_is_rejected(database: psycopg.Connection, name: str) -> None:
    database.execute("CREATE VIEW the_view AS SELECT 1 AS user_id")
    with pytest.raises(ConfigurationError, match="table"):
        watch(database, name)
