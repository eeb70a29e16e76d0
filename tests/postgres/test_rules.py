"""Rules of an event: Python and the database's outbox accept the same values."""

import json
import time
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from realtime_bridge import ConfigurationError, Event, InvalidEventError
from realtime_bridge.cli.postgres import connect
from realtime_bridge.model.event_data import MAX_DATA_BYTES, MAX_DEPTH
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema, triggers, watches
from realtime_bridge_backends.postgres import PostgresBackend
from tests.services.postgres import PostgresServer

VECTORS = Path(__file__).parents[1] / "vectors"

GOOD_LABELS = ["a", "id 1", "ключ:1", "日本", "🚀", "e\u0301", "\u0378", "'; DROP", "x" * 64]
BAD_LABELS = [
    "",
    "a\tb",
    "a\nb",
    "\x7f",
    "\x9f",
    "\xa0",
    "\xad",
    "👩\u200d💻",
    "\u202eabc",
    "\u2028",
    "\u3000",
    "\ue000",
    "\ufeff",
    "\ufffe",
    "\U000e0061",
    "\U000f0000",
    "\U0010ffff",
    "x" * 201,
]
CHANNELS = {
    "job.7": True,
    "x" * 128: True,
    "A-Za-z0-9_=@,.;-": True,
    "x" * 129: False,
    "": False,
    "a b": False,
    "a\n": False,
    "ä": False,
    "private-a": False,
    "presence-a": False,
    "a-private-": True,
    "@realtime": False,
    "@realtime.delivery": False,
    "user-@realtime": True,
}


def nested(levels: int) -> Any:
    """Return arrays and objects, nested so deep."""
    value: Any = []
    for level in range(levels - 1):
        value = {"a": value} if level % 2 else [value]
    return value


GOOD_DATA: list[Any] = [
    None,
    "Grüße, 世界, 🚀",
    'quote " backslash \\ newline \n nul \x00',
    "\\ud800",
    "[[[[" * 1_000,
    [1e308, -1.5, 2**53 - 1, 5e-324],
    nested(MAX_DEPTH),
    [[]] * 1_000,
    "x" * (MAX_DATA_BYTES - 2),
]
BAD_DATA: list[Any] = ["\ud800", "a\udc00b", nested(MAX_DEPTH + 1), "x" * (MAX_DATA_BYTES - 1)]
BAD_TEXTS = [
    "",
    "text",
    '{"a":NaN}',
    "Infinity",
    "{'a': 1}",
    "[1,]",
    "[1",
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud800\\ud801\\udc00"',
    '"\\\\\\ud800"',
    "1e999",
    "-1e309",
    "1" * 400,
    "[" * 2_000 + "]" * 2_000,
    '{"a":' * 255 + "1" + "}" * 255,
]


def insert(database: psycopg.Connection, **fields: Any) -> bool:
    """Insert a row into the outbox, and return whether the database accepted it."""
    row = {"channel": "job.7", "event": "job.step", "body": "1", **fields}
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    try:
        database.execute(
            f"INSERT INTO realtime.outbox ({names}) VALUES ({marks})",
            list(row.values()),
        )
    except (psycopg.errors.CheckViolation, psycopg.errors.InvalidTextRepresentation):
        return False
    return True


def create(**fields: Any) -> bool:
    """Create an event in Python, and return whether that is possible."""
    try:
        Event(**{"channel": "job.7", "event": "job.step", "data": 1, **fields})
    except InvalidEventError:
        return False
    return True


@pytest.mark.parametrize("field", ["event", "id", "key", "source"])
def test_labels_have_the_same_rules_at_both_doors(database: psycopg.Connection, field: str) -> None:
    for label in GOOD_LABELS:
        assert create(**{field: label}), ascii(label)
        assert insert(database, **{field: label}), ascii(label)
    for label in BAD_LABELS:
        assert not create(**{field: label}), ascii(label)
        assert not insert(database, **{field: label}), ascii(label)


def test_channels_have_the_same_rules_at_both_doors(database: psycopg.Connection) -> None:
    for channel, expected in CHANNELS.items():
        assert create(channel=channel) == expected, ascii(channel)
        assert insert(database, channel=channel) == expected, ascii(channel)


def test_data_have_the_same_rules_at_both_doors(database: psycopg.Connection) -> None:
    for data in GOOD_DATA:
        assert create(data=data)
        assert insert(database, body=orjson.dumps(data).decode()), str(data)[:60]
        assert insert(database, body=json_with_escapes(data)) or len(str(data)) > 10_000
    for data in BAD_DATA:
        assert not create(data=data)
        assert not insert(database, body=json_with_escapes(data)), ascii(data)[:60]
    for text in BAD_TEXTS:
        assert not insert(database, body=text), text[:60]


def json_with_escapes(data: Any) -> str:
    """Return JSON in which each character outside of ASCII is an escape."""
    return json.dumps(data, separators=(",", ":"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"event": "a\tb"}, "event has 1 to 200 printable characters"),
        ({"key": ""}, "key has 1 to 128 printable characters"),
        ({"channel": "a b"}, "channel has 1 to 128 characters of A-Za-z0-9"),
        ({"body": "NaN"}, "invalid input syntax for type json"),
        ({"body": '"\\ud800"'}, "body has no half of a surrogate pair"),
        ({"body": "1e400"}, "body has no number beyond 1.8e308"),
        ({"body": "[" * 300 + "]" * 300}, "body has at most 254 levels of nesting"),
    ],
)
def test_error_of_a_bad_row_names_the_rule(
    database: psycopg.Connection, fields: dict[str, str], message: str
) -> None:
    row = {"channel": "job.7", "event": "job.step", "body": "1", **fields}
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    statement = f"INSERT INTO realtime.outbox ({names}) VALUES ({marks})"
    with pytest.raises((psycopg.DataError, psycopg.IntegrityError), match=message):
        database.execute(statement, list(row.values()))


async def test_body_is_stored_compact_with_its_keys_in_order(
    database: psycopg.Connection, url: str
) -> None:
    body = '\n{ "z" : 1,\r\n\t"a b" : [ 1 , "x  \\" \\\\" ] ,  "a" : "\u2003" }  '
    assert insert(database, body=body)
    async with PostgresBackend(url) as log:
        top = (await log.positions(["job.7"]))["job.7"]
        page = await log.read("job.7", Position(top.epoch, 0))
    assert isinstance(page, Page)
    (event,) = page.events
    assert event.body.decode() == '{"z":1,"a b":[1,"x  \\" \\\\"],"a":"\u2003"}'


def test_largest_body_is_checked_quickly(database: psycopg.Connection) -> None:
    start = time.monotonic()
    assert insert(database, body='["' + "\\u00e4 " * 149_000 + '"]')
    assert insert(database, body="[" + "[1, 2], " * 130_000 + "1]")
    assert time.monotonic() - start < 5


def test_install_upgrades_the_outbox_and_the_watches(server: PostgresServer) -> None:
    url = server.database()
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int, note text)")
        table = watches.find_table(database, "jobs")
        rule = watches.create_watch(table, channel="user-{user_id}", event="job.{op}")
        for statement in triggers.create_triggers(rule, "realtime"):
            database.execute(statement)
        make_version_1(database)
        assert insert(database, body="no JSON")
        with pytest.raises(psycopg.errors.DivisionByZero):
            database.execute("INSERT INTO jobs VALUES (1, 42, 'a')")
        # A program of an earlier version passes no trace contexts.
        database.execute(
            "SELECT * FROM realtime.append(ARRAY['job.7'], ARRAY['a'], ARRAY['e1'], ARRAY['1'], "
            "ARRAY[NULL], ARRAY[NULL])"
        )
        drop_traces(database)
        assert schema.install(database, "realtime", Retention()) == 1
        assert schema.version(database, "realtime") == schema.VERSION
        assert not insert(database, body="no JSON")
        database.execute("INSERT INTO jobs VALUES (1, 42, 'a')")
        assert schema.install(database, "realtime", Retention()) == schema.VERSION


def drop_traces(database: psycopg.Connection) -> None:
    """Remove the columns of version 4, and let the function of version 3 exist again."""
    for table in ("events", "outbox"):
        database.execute(f"ALTER TABLE realtime.{table} DROP COLUMN traceparent")
    arguments = ", ".join(["text[]"] * 6)
    database.execute(
        f"CREATE FUNCTION realtime.append({arguments}) RETURNS integer LANGUAGE sql AS 'SELECT 1'"
    )


def make_version_1(database: psycopg.Connection) -> None:
    """Make the schema as version 1 had it, with a trigger function that fails."""
    database.execute("ALTER TABLE realtime.watches DROP COLUMN name")
    query = (
        "SELECT conname FROM pg_constraint WHERE conrelid = 'realtime.outbox'::regclass "
        "AND contype = 'c'"
    )
    for (name,) in database.execute(query).fetchall():
        database.execute(f'ALTER TABLE realtime.outbox DROP CONSTRAINT "{name}"')
    database.execute(
        "ALTER TABLE realtime.outbox ADD CONSTRAINT outbox_body_check CHECK (body <> '')"
    )
    database.execute("UPDATE realtime.settings SET version = 1")
    query = "SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'realtime_insert'"
    (name,) = database.execute(query).fetchone() or ("",)
    database.execute(
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger "
        "LANGUAGE plpgsql AS 'BEGIN RETURN 1 / 0; END'"
    )


def test_channel_of_a_user_is_that_of_python(database: psycopg.Connection) -> None:
    vectors = json.loads((VECTORS / "user_channel.json").read_text())["vectors"]
    for vector in (one for one in vectors if one["channel"]):
        query = "SELECT realtime.user_channel(%s)"
        assert database.execute(query, [str(vector["user"])]).fetchone() == (vector["channel"],)
    assert database.execute("SELECT realtime.user_channel(NULL)").fetchone() == (None,)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_database_without_unicode_is_rejected(server: PostgresServer, encoding: str) -> None:
    name = encoding.lower()
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
    with (
        connect(server.url(name)) as database,
        pytest.raises(ConfigurationError, match=f"encoding {encoding}: create .* 'UTF8'"),
    ):
        schema.install(database, "realtime", Retention())


async def test_doctor_reports_a_database_without_unicode(server: PostgresServer) -> None:
    with server.connect() as connection:
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    results = {
        result.check: result for result in await PostgresBackend(server.url("ascii")).check()
    }
    assert results["postgres encoding"].detail == "SQL_ASCII"
    assert results["postgres encoding"].status == "failed"
