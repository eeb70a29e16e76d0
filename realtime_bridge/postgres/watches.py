"""Watches: tables whose changed rows become events in the same transaction."""

from collections.abc import Sequence

import psycopg
from msgspec import Struct
from psycopg.sql import SQL, Composed, Identifier, Literal

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.postgres.templates import Template


class Table(Struct, frozen=True):
    """Table of the database's catalogue; `primary` has the columns of its primary key, if any."""

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]
    primary: tuple[str, ...]

    @property
    def identifier(self) -> Identifier:
        """Quoted name with its schema."""
        return Identifier(self.schema, self.name)


class Watch(Struct, frozen=True):
    """Rule that makes events of a table's changes.

    Args:
        table: the watched table.
        channel: the events' channel, such as `user-{user_id}`; a NULL there skips the row.
        event: the events' name, such as `job.{op}`.
        columns: the columns in the data; an update that changes none of them makes no event.
        key: the events' key, such as `job-{id}`.

    """

    table: Table
    channel: Template
    event: Template
    columns: tuple[str, ...]
    key: Template | None

    @property
    def published_columns(self) -> list[str]:
        """Columns that a client learns of: from the data, the channel, the name or the key."""
        named = (*self.columns, *self.channel.columns, *self.event.columns)
        return list(dict.fromkeys((*named, *(self.key.columns if self.key else ()))))


def find_table(connection: psycopg.Connection, name: str) -> Table:
    """Return the table of a name in SQL's spelling: `jobs`, `app.jobs`, `"Jobs"`.

    Raises:
        ConfigurationError: the database has no such table.

    """
    try:
        row = connection.execute(_TABLE, [name]).fetchone()
    except psycopg.errors.InvalidName:
        row = None
    if row is None:
        raise ConfigurationError(
            f"The database has no table {name!r}: write it as SQL does, like app.jobs or '\"Jobs\"'"
        )
    oid, schema, table, kind, columns, primary = row
    if kind not in ("r", "p"):  # an ordinary or a partitioned table: others have no row triggers
        raise ConfigurationError(f"{name!r} is not a table: watch the table of its rows")
    return Table(oid, schema, table, tuple(columns), tuple(primary))


def create_watch(
    table: Table, *, channel: str, event: str, columns: Sequence[str] = (), key: str | None = None
) -> Watch:
    """Return a watch whose templates and columns fit the table.

    Raises:
        ConfigurationError: a template or column does not fit.

    """
    unknown = [name for name in columns if name not in table.columns]
    if unknown:
        raise ConfigurationError(
            f"The table has no column {unknown[0]!r}: use {', '.join(sorted(table.columns))}"
        )
    channel_template = Template(channel, table.columns, purpose="channel")
    if not channel_template.columns:
        # A constant channel would show the rows of every user to every subscriber.
        raise ConfigurationError(
            f"The channel {channel!r} names no column, so all rows go to all subscribers: "
            "write it like 'user-{user_id}'"
        )
    return Watch(
        table=table,
        channel=channel_template,
        event=Template(event, table.columns, purpose="event"),
        columns=tuple(columns) or table.columns,
        key=Template(key, table.columns, purpose="key") if key else None,
    )


def insert_watch(watch: Watch, prefix: str) -> Composed:
    """Return the SQL that stores a watch, in place of an earlier one of the table."""
    return SQL(
        "INSERT INTO {schema}.watches (relation, channel, event, columns, key) "
        "VALUES ({oid}, {channel}, {event}, {columns}, {key}) ON CONFLICT (relation) DO UPDATE SET "
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


def delete_watch(table: Table, prefix: str) -> Composed:
    """Return the SQL that deletes the watch of a table."""
    return SQL("DELETE FROM {}.watches WHERE relation = {}").format(
        Identifier(prefix), Literal(table.oid)
    )


def list_watches(connection: psycopg.Connection, prefix: str) -> list[dict[str, str | None]]:
    """Return the table, channel, event and key of each watch."""
    # The join leaves out watches of tables that were dropped.
    query = SQL(
        "SELECT relation::text, channel, event, key FROM {}.watches "
        "JOIN pg_class ON pg_class.oid = relation ORDER BY 1"
    )
    rows = connection.execute(query.format(Identifier(prefix))).fetchall()
    return [dict(zip(("table", "channel", "event", "key"), row, strict=True)) for row in rows]


def load_watches(connection: psycopg.Connection, prefix: str) -> list[Watch]:
    """Return the stored watches, without the columns that their tables have lost.

    Raises:
        ConfigurationError: a template names a column that is gone.

    """
    query = SQL(
        "SELECT relation::text, channel, event, columns, key FROM {}.watches "
        "JOIN pg_class ON pg_class.oid = relation ORDER BY number"
    )
    watches = []
    for name, channel, event, columns, key in connection.execute(query.format(Identifier(prefix))):
        table = find_table(connection, name)
        remaining = [column for column in columns if column in table.columns]
        watches.append(
            create_watch(table, channel=channel, event=event, columns=remaining, key=key)
        )
    return watches


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
