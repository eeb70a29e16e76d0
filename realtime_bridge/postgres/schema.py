"""The schema in which the log lives: made, upgraded, looked at and removed."""

from dataclasses import dataclass
from importlib.resources import files

import psycopg
from psycopg.abc import Query
from psycopg.sql import SQL, Composed, Identifier, Literal

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.retention import Retention

VERSION = 1
"""Of the tables; functions are made anew by every install."""


@dataclass(frozen=True, slots=True)
class Status:
    """What is there: the version of the schema (None: nothing), and how much the log holds."""

    version: int | None
    channels: int = 0
    events: int = 0


def statements(prefix: str, name: str) -> Composed:
    """Return the SQL of `name` (`schema` or `functions`) for one application's prefix."""
    text = files(__package__).joinpath(f"{name}.sql").read_text()
    return SQL(text).format(schema=Identifier(prefix), notice=Literal(prefix))


def script(prefix: str) -> str:
    """Return all that a first install does, for people to read."""
    begin = SQL("CREATE SCHEMA {};\n").format(Identifier(prefix))
    parts = (begin, statements(prefix, "schema"), _first(prefix), statements(prefix, "functions"))
    return "\n".join(part.as_string() for part in parts)


def install(connection: psycopg.Connection, prefix: str, retention: Retention) -> int | None:
    """Make the schema, or bring it up to date, and return the version that was there before.

    Raises:
        ConfigurationError: it was made by a later version of us.
        psycopg.Error: the database refuses.

    """
    with connection.transaction():
        _execute(connection, SQL("SELECT pg_advisory_xact_lock(hashtext({}))").format(prefix))
        before = version(connection, prefix)
        if before is not None and before > VERSION:
            raise ConfigurationError(
                f"The schema {prefix!r} has version {before}, this program knows {VERSION}: "
                "upgrade realtime-bridge here too"
            )
        if before is None:
            _execute(connection, SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(prefix)))
            _execute(connection, statements(prefix, "schema"))
            _execute(connection, _first(prefix))
        _execute(connection, statements(prefix, "functions"))
        _execute(connection, keep(prefix, retention))
    return before


def keep(prefix: str, retention: Retention) -> Composed:
    """Return the SQL that tells the log how much to keep, where that is news."""
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
    """Remove the schema with all that the log holds, and return whether it was there."""
    with connection.transaction():
        there = version(connection, prefix) is not None
        if there:
            _execute(connection, SQL("DROP SCHEMA {} CASCADE").format(Identifier(prefix)))
    return there


def status(connection: psycopg.Connection, prefix: str) -> Status:
    """Return what is there."""
    found = version(connection, prefix)
    if found is None:
        return Status(None)
    counts = SQL(
        "SELECT (SELECT count(*) FROM {schema}.channels), (SELECT count(*) FROM {schema}.events)"
    ).format(schema=Identifier(prefix))
    channels, events = connection.execute(counts).fetchone() or (0, 0)
    return Status(found, channels, events)


def version(connection: psycopg.Connection, prefix: str) -> int | None:
    """Return the version of the tables, or None where there are none."""
    there = "SELECT to_regclass(format('%%I.settings', %s::text)) IS NOT NULL"
    (found,) = connection.execute(there, [prefix]).fetchone() or (False,)
    if not found:
        return None
    asked = SQL("SELECT version FROM {}.settings").format(Identifier(prefix))
    row = connection.execute(asked).fetchone()
    return int(row[0]) if row else None


def _first(prefix: str) -> Composed:
    return SQL("INSERT INTO {}.settings (version) VALUES ({});\n").format(
        Identifier(prefix), Literal(VERSION)
    )


def _execute(connection: psycopg.Connection, query: Query) -> None:
    connection.execute(query)
