"""Installation, upgrade, status and removal of the log's schema."""

from importlib.resources import files
from typing import LiteralString

import psycopg
from msgspec import Struct
from psycopg.sql import SQL, Composed, Identifier, Literal

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.channel import ALPHABET, CONTROL, RESERVED
from realtime_bridge.model.event_data import MAX_DATA_BYTES, MAX_DEPTH
from realtime_bridge.model.names import MAX_EVENT_NAME, MAX_LABEL
from realtime_bridge.model.retention import Retention
from realtime_bridge.model.text import UNPRINTABLE
from realtime_bridge.model.user import UNENCODED, USER_START
from realtime_bridge.postgres import triggers

VERSION = 4
"""Version of the tables; every install replaces the functions. 2: constraints of the outbox.
3: names of watched tables, keys with owners. 4: trace contexts."""

_CONSTRAINTS_VERSION, _NAMES_VERSION = 2, 3

_FUNCTIONS = ("rules", "owned_keys_tables", "functions", "owned_keys")

# Ids of transactions have a meaning in one server only: a restored database has those of another.
_FORGET_TRANSACTIONS: LiteralString = """
UPDATE {schema}.channels SET changed_by = pg_current_xact_id(), duplicate_offset = NULL,
    duplicate_by = NULL
WHERE changed_by > pg_current_xact_id() OR duplicate_by > pg_current_xact_id()
"""
_RULES = {
    # Without the lookahead and the bounds of Python's pattern: both are slow in PostgreSQL.
    "channel_characters": Literal(f"^[{ALPHABET}]+$"),
    "reserved": Literal(f"^(?:{'|'.join((*RESERVED, CONTROL))})"),
    "user_start": Literal(USER_START),
    "unencoded": Literal(f"^[{UNENCODED}]*$"),
    "unprintable": Literal(UNPRINTABLE),
    "max_name": Literal(MAX_EVENT_NAME),
    "max_label": Literal(MAX_LABEL),
    "max_bytes": Literal(MAX_DATA_BYTES),
    "max_depth": Literal(MAX_DEPTH),
}
"""Rules of the fields of an event, which Python and the database share."""


class SchemaStatus(Struct, frozen=True):
    """Version of the installed schema (None: not installed), and the size of the log."""

    version: int | None
    channels: int = 0
    events: int = 0


def load_sql(prefix: str, name: str) -> Composed:
    """Return the SQL of the file `name` for an application's prefix."""
    text = files(__package__).joinpath(f"{name}.sql").read_text()
    return SQL(text).format(schema=Identifier(prefix), notice=Literal(prefix), **_RULES)


def install_script(prefix: str) -> str:
    """Return the SQL of a first install as text."""
    begin = SQL("CREATE SCHEMA {};\n").format(Identifier(prefix))
    names = ("schema", *_FUNCTIONS, "constraints")
    files_of_schema = (load_sql(prefix, name) for name in names)
    return "\n".join(part.as_string() for part in (begin, *files_of_schema, _store_version(prefix)))


def install(connection: psycopg.Connection, prefix: str, retention: Retention) -> int | None:
    """Create or upgrade the schema, and return the earlier version if there was one.

    Raises:
        ConfigurationError: a later version of this package created the schema, the database has
            another encoding than UTF-8, or a watch names a column that is gone.
        psycopg.Error: the database rejected a statement.

    """
    with connection.transaction():
        # Two installs at once: the second waits, and then finds the first one's schema.
        connection.execute(SQL("SELECT pg_advisory_xact_lock(hashtext({}))").format(prefix))
        before = version(connection, prefix)
        if before is not None and before > VERSION:
            raise ConfigurationError(
                f"Schema {prefix!r} has version {before}, this program needs {VERSION}: "
                "upgrade realtime-bridge here too"
            )
        _check_encoding(connection)
        if before is None:
            connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(prefix)))
            connection.execute(load_sql(prefix, "schema"))
        for name in _FUNCTIONS:
            connection.execute(load_sql(prefix, name))
        if before is None or before < _CONSTRAINTS_VERSION:
            connection.execute(load_sql(prefix, "constraints"))
        if before is not None and before < _NAMES_VERSION:
            connection.execute(load_sql(prefix, "names"))
        connection.execute(_store_version(prefix))
        connection.execute(SQL(_FORGET_TRANSACTIONS).format(schema=Identifier(prefix)))
        for statement in triggers.recreate_triggers(connection, prefix):
            connection.execute(statement)
        connection.execute(set_retention(prefix, retention))
    return before


def set_retention(prefix: str, retention: Retention) -> Composed:
    """Return the SQL that stores the retention, if it differs from the stored one.

    Every connection runs it; without the comparison each would lock and rewrite the row.
    """
    return SQL(
        "UPDATE {schema}.settings SET history_events = {events}, history_bytes = {bytes}, "
        "history_seconds = {seconds} WHERE (history_events, history_bytes, history_seconds) "
        "IS DISTINCT FROM ({events}, {bytes}, {seconds})"
    ).format(
        schema=Identifier(prefix),
        events=retention.events,
        bytes=retention.bytes,
        seconds=retention.seconds,
    )


def uninstall(connection: psycopg.Connection, prefix: str) -> bool:
    """Remove the schema and the whole log, and return whether the schema existed."""
    with connection.transaction():
        exists = version(connection, prefix) is not None
        if exists:
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(prefix)))
    return exists


def status(connection: psycopg.Connection, prefix: str) -> SchemaStatus:
    """Return the status of the schema."""
    installed_version = version(connection, prefix)
    if installed_version is None:
        return SchemaStatus(None)
    counts = SQL(
        "SELECT (SELECT count(*) FROM {schema}.channels), (SELECT count(*) FROM {schema}.events)"
    ).format(schema=Identifier(prefix))
    channels, events = connection.execute(counts).fetchone() or (0, 0)
    return SchemaStatus(installed_version, channels, events)


def version(connection: psycopg.Connection, prefix: str) -> int | None:
    """Return the version of the tables, or None if they are not installed."""
    query = "SELECT to_regclass(format('%%I.settings', %s::text)) IS NOT NULL"
    (exists,) = connection.execute(query, [prefix]).fetchone() or (False,)
    if not exists:
        return None
    row = connection.execute(
        SQL("SELECT version FROM {}.settings").format(Identifier(prefix))
    ).fetchone()
    return int(row[0]) if row else None


def _check_encoding(connection: psycopg.Connection) -> None:
    (encoding,) = connection.execute("SHOW server_encoding").fetchone() or ("",)
    if encoding != "UTF8":  # the rules of printable characters need all of Unicode
        raise ConfigurationError(
            f"The database has the encoding {encoding}: create it with ENCODING 'UTF8'"
        )


def _store_version(prefix: str) -> Composed:
    return SQL(
        "INSERT INTO {}.settings (version) VALUES ({version}) "
        "ON CONFLICT (single) DO UPDATE SET version = {version};\n"
    ).format(Identifier(prefix), version=Literal(VERSION))
