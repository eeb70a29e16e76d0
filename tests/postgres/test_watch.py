"""Watched tables: changed rows become events in the same transaction."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from realtime_bridge import ConfigurationError, Event, user_channel
from realtime_bridge.model.event_data import MAX_DATA_BYTES
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
    assert await changes(log) == [
        ("job.delete", {"id": 1, "status": "queued"}),
        ("job.update", {"id": 2, "status": "queued"}),
    ]


async def test_row_that_changes_its_owner_is_deleted_for_the_old_one(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    database.execute("INSERT INTO jobs VALUES (1, 42, 'running', 'secret of 43')")
    watch(database, "jobs", columns="id status", key="job-{id}")
    database.execute("UPDATE jobs SET user_id = 43, status = 'for 43'")
    assert await changes(log) == [("job.delete", {"id": 1, "status": "running"})]
    assert await changes(log, "user-43") == [("job.update", {"id": 1, "status": "for 43"})]
    database.execute("UPDATE jobs SET user_id = NULL")
    assert (await changes(log, "user-43"))[-1] == ("job.delete", {"id": 1, "status": "for 43"})


async def test_keys_that_change_places_end_with_the_new_rows(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int, place text)")
    database.execute("INSERT INTO jobs VALUES (1, 42, 'a'), (2, 42, 'b')")
    watch(database, "jobs", key="{place}")
    database.execute("UPDATE jobs SET place = CASE place WHEN 'a' THEN 'b' ELSE 'a' END")
    latest = (await log.latest("user-42")).events
    assert {event.key: (event.event, event.data["id"]) for event in latest} == {
        "a": ("job.update", 2),
        "b": ("job.update", 1),
    }


async def test_row_without_a_valid_old_channel_is_not_deleted(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id text)")
    database.execute("INSERT INTO jobs VALUES (1, NULL), (2, 'no channel!')")
    watch(database, "jobs")
    notices: list[str] = []
    database.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    database.execute("UPDATE jobs SET user_id = '42'")
    assert [name for name, _ in await changes(log)] == ["job.update", "job.update"]
    assert notices == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET status = '' WHERE id = (SELECT id FROM jobs FOR UPDATE SKIP LOCKED)",
        "DELETE FROM jobs WHERE false",
        "INSERT INTO jobs SELECT * FROM jobs WHERE false",
    ],
)
def test_statement_without_rows_writes_nothing(
    database: psycopg.Connection, statement: str
) -> None:
    database.execute(JOBS)
    watch(database, "jobs")
    with database.transaction():
        database.execute(statement)
        query = "SELECT pg_current_xact_id_if_assigned() IS NULL"
        assert database.execute(query).fetchone() == (True,)


def test_update_without_an_event_registers_no_transaction(database: psycopg.Connection) -> None:
    database.execute(JOBS)
    watch(database, "jobs", columns="id")
    database.execute("INSERT INTO jobs VALUES (1, 42, 'queued', '')")
    with database.transaction():
        database.execute("UPDATE jobs SET note = 'b'")
        rows = database.execute("SELECT * FROM realtime.outbox_transactions").fetchall()
        assert rows == []


async def test_integers_that_javascript_rounds_become_texts(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(
        "CREATE TABLE jobs (id bigint PRIMARY KEY, user_id int, n numeric, f float8, t text,"
        " j json)"
    )
    watch(database, "jobs", key="job-{id}")
    nested = '{"653247040368672768": [653247040368672768, -9007199254740992], "a" :1.5e20}'
    text = '"653247040368672768", 9007199254740993'
    values = [653247040368672768, 42, 9007199254740991, 0.1234567890123456, text, nested]
    database.execute("INSERT INTO jobs VALUES (%s, %s, %s, %s, %s, %s)", values)
    (event,) = await events_of(log, "user-42")
    assert event.key == "job-653247040368672768"
    assert event.data == {
        "id": "653247040368672768",
        "user_id": 42,
        "n": 9007199254740991,
        "f": 0.1234567890123456,
        "t": text,
        "j": {"653247040368672768": ["653247040368672768", "-9007199254740992"], "a": 1.5e20},
    }


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


async def test_row_of_an_id_with_other_characters_goes_to_the_channel_of_that_user(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id text)")
    watch(database, "jobs", columns="id")
    database.execute("INSERT INTO jobs VALUES (1, 'auth0|1')")
    database.execute("UPDATE jobs SET user_id = 'a=b'")
    assert await changes(log, user_channel("auth0|1")) == [
        ("job.insert", {"id": 1}),
        ("job.delete", {"id": 1}),
    ]
    assert await changes(log, user_channel("a=b")) == [("job.update", {"id": 1})]


async def test_row_without_channel_is_skipped(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute("CREATE TABLE jobs (id int PRIMARY KEY, place text)")
    watch(database, "jobs", channel="jobs-{place}")
    notices: list[str] = []
    database.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    database.execute("INSERT INTO jobs VALUES (1, NULL), (2, 'no channel!'), (3, 'a')")
    assert await changes(log, "jobs-a") == [("job.insert", {"id": 3, "place": "a"})]
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
    database.execute("INSERT INTO jobs VALUES ('private-42'), ('@realtime'), ('user-42')")
    assert len(await changes(log)) == 1
    assert (await log.positions(["@realtime"]))["@realtime"].offset == 0


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
    assert [event.data["a'b\\"] for event in events] == ["it's", "it's", "ü"], "the key changed"
    assert [event.event for event in events] == [
        f"$realtime$ {operation}'" for operation in ("insert", "delete", "update")
    ]
    assert [event.key for event in events] == ["it's", "it's", "ü"]


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


def problems(database: psycopg.Connection) -> dict[str | None, str]:
    rules = watches.list_watches(database, "realtime")
    return {rule["table"]: rule["problem"] or "" for rule in rules}


async def test_table_that_was_created_again_is_noticed_and_watched_by_install(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    watch(database, "jobs", columns="id")
    assert problems(database) == {"jobs": ""}
    database.execute("DROP TABLE jobs")
    (problem,) = problems(database).values()
    assert "was dropped: run `realtime-bridge postgres unwatch" in problem
    database.execute(JOBS)
    (problem,) = problems(database).values()
    assert "dropped and created again: run `realtime-bridge postgres install`" in problem
    schema.install(database, "realtime", Retention())
    assert problems(database) == {"jobs": ""}
    database.execute("INSERT INTO jobs VALUES (1, 42, 'queued', '')")
    assert await changes(log) == [("job.insert", {"id": 1})]
    functions = "SELECT FROM pg_proc WHERE proname LIKE 'watch%'"
    assert len(database.execute(functions).fetchall()) == 3, "those of the dropped table are gone"


@pytest.mark.parametrize("name", ["jobs", "public.jobs", '"public"."jobs"'])
def test_watch_of_a_dropped_table_ends_by_its_name(database: psycopg.Connection, name: str) -> None:
    database.execute(JOBS)
    watch(database, "jobs")
    database.execute("DROP TABLE jobs")
    with pytest.raises(ConfigurationError, match="no table 'other'"):
        watches.find_watched_table(database, "other", "realtime")
    assert watches.find_watched_table(database, name, "realtime") is None
    assert problems(database) == {}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DROP TRIGGER realtime_update ON jobs", "its triggers are missing"),
        ("ALTER TABLE jobs DISABLE TRIGGER realtime_insert", "its triggers are disabled"),
        ("CREATE ROLE other; ALTER TABLE jobs OWNER TO other", "another owner"),
        ("DELETE FROM realtime.watches", "triggers without a watch"),
    ],
)
def test_watch_that_does_not_work_is_listed_with_its_problem(
    database: psycopg.Connection, change: str, problem: str
) -> None:
    database.execute(JOBS)
    watch(database, "jobs")
    database.execute(change)
    assert problem in problems(database)["jobs"]


def test_unwatched_table_cannot_be_unwatched(database: psycopg.Connection) -> None:
    database.execute(JOBS)
    with pytest.raises(ConfigurationError, match="jobs is not watched: no table is watched"):
        watches.find_watched_table(database, "jobs", "realtime")
    database.execute("CREATE TABLE tasks (id int PRIMARY KEY, user_id int)")
    watch(database, "tasks")
    with pytest.raises(ConfigurationError, match="is not watched: watched are tasks"):
        watches.find_watched_table(database, "jobs", "realtime")


async def test_swapped_tables_keep_their_own_watches(
    database: psycopg.Connection, log: PostgresBackend
) -> None:
    database.execute(JOBS)
    watch(database, "jobs", event="first.{op}", columns="id")
    database.execute("ALTER TABLE jobs RENAME TO jobs_old")
    database.execute(JOBS)
    watch(database, "jobs", event="second.{op}", columns="id")
    database.execute("INSERT INTO jobs_old VALUES (1, 42, '', '')")
    database.execute("INSERT INTO jobs VALUES (2, 42, '', '')")
    assert await changes(log) == [("first.insert", {"id": 1}), ("second.insert", {"id": 2})]
