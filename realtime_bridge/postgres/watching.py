"""Tables whose changes are events: triggers write them into the outbox of the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.postgres.templates import Template


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the catalogue has it; `primary` is its primary key, which may be none."""

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]
    primary: tuple[str, ...]

    @property
    def identifier(self) -> Identifier:
        """Its name, quoted."""
        return Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Watch:
    """What becomes of a table's changes.

    Args:
        table: whose changes.
        channel: where to, such as `user-{user_id}`; a row with NULL there is nobody's.
        event: the event's name, such as `job.{op}`.
        columns: what the data has; an update that changes none of them is no event.
        key: what the event is about, such as `job-{id}`.

    """

    table: Table
    channel: Template
    event: Template
    columns: tuple[str, ...]
    key: Template | None

    @property
    def told(self) -> list[str]:
        """The columns that a client is told of: as data, or by where an event goes."""
        named = (*self.columns, *self.channel.columns, *self.event.columns)
        return list(dict.fromkeys((*named, *(self.key.columns if self.key else ()))))


def find_table(connection: psycopg.Connection, name: str) -> Table:
    """Return the table of this name, as SQL would understand it: `jobs`, `app.jobs`, `"Jobs"`.

    Raises:
        ConfigurationError: there is no such table.

    """
    try:
        row = connection.execute(_TABLE, [name]).fetchone()
    except psycopg.errors.InvalidName:
        row = None
    if row is None:
        raise ConfigurationError(
            f"There is no table {name!r} here: write it as SQL does, like app.jobs or '\"Jobs\"'"
        )
    oid, schema, table, kind, columns, primary = row
    if kind not in ("r", "p"):
        raise ConfigurationError(f"{name!r} is no table: watch what its rows come from")
    return Table(oid, schema, table, tuple(columns), tuple(primary))


def describe(
    table: Table, *, channel: str, event: str, columns: Sequence[str] = (), key: str | None = None
) -> Watch:
    """Return a watch whose templates and columns fit the table.

    Raises:
        ConfigurationError: they do not; it says which.

    """
    unknown = [name for name in columns if name not in table.columns]
    if unknown:
        raise ConfigurationError(
            f"The table has no column {unknown[0]!r}, but {', '.join(sorted(table.columns))}"
        )
    made = Template(channel, table.columns, what="channel")
    if not made.columns:
        raise ConfigurationError(
            f"The channel {channel!r} names no column, so that every row would go to everybody who "
            "may listen there: write it like 'user-{user_id}'"
        )
    return Watch(
        table=table,
        channel=made,
        event=Template(event, table.columns, what="event"),
        columns=tuple(columns) or table.columns,
        key=Template(key, table.columns, what="key") if key else None,
    )


def keep(watch: Watch, prefix: str) -> Composed:
    """Return the SQL that remembers a watch."""
    return SQL(
        "INSERT INTO {schema}.watches (watched, channel, event, columns, key) "
        "VALUES ({oid}, {channel}, {event}, {columns}, {key}) ON CONFLICT (watched) DO UPDATE SET "
        "channel = excluded.channel, event = excluded.event, columns = excluded.columns, "
        "key = excluded.key"
    ).format(
        schema=Identifier(prefix),
        oid=Literal(watch.table.oid),
        channel=watch.channel.text,
        event=watch.event.text,
        columns=list(watch.columns),
        key=watch.key.text if watch.key else None,
    )


def forget(table: Table, prefix: str) -> Composed:
    """Return the SQL that forgets it."""
    return SQL("DELETE FROM {}.watches WHERE watched = {}").format(
        Identifier(prefix), Literal(table.oid)
    )


def listed(connection: psycopg.Connection, prefix: str) -> list[dict[str, str | None]]:
    """Return what is watched: tables, channels, events and keys."""
    asked = SQL(
        "SELECT watched::text, channel, event, key FROM {}.watches "
        "JOIN pg_class ON pg_class.oid = watched ORDER BY 1"
    )
    rows = connection.execute(asked.format(Identifier(prefix))).fetchall()
    return [dict(zip(("table", "channel", "event", "key"), row, strict=True)) for row in rows]


_TABLE = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text,
    ARRAY(SELECT attname::text FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum),
    ARRAY(SELECT a.attname::text FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(%s)
"""
