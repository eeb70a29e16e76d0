"""Watches: tables whose changed rows become events in the same transaction."""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from msgspec import Struct
from msgspec.structs import asdict
from psycopg.sql import SQL, Composed, Identifier, Literal

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.postgres.templates import Template
from realtime_bridge.postgres.watch_status import status_query, to_status


class Table(Struct, frozen=True):
    """Table of the database's catalogue.

    Args:
        oid: its number in this database; a restored table has another one.
        schema: its schema.
        name: its name.
        columns: its columns, in order.
        primary: the columns of its primary key, if any.
        owner: the role that owns it.
        is_own: the owner is this connection's role.
        is_controlled: this connection's role has the rights of the owner.
        foreign_types: columns with a type of a role that is neither the owner nor a superuser,
            each with that role.

    """

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]
    primary: tuple[str, ...]
    owner: str
    is_own: bool = True
    is_controlled: bool = True
    foreign_types: dict[str, str] = {}

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
        row = connection.execute(_TABLE, {"name": name}).fetchone()
    except psycopg.errors.InvalidName:
        row = None
    if row is None:
        raise ConfigurationError(
            f"The database has no table {name!r}: write it as SQL does, like app.jobs or '\"Jobs\"'"
        )
    oid, schema, table, kind, columns, primary, owner, is_own, is_controlled, foreign_types = row
    if kind not in ("r", "p"):  # an ordinary or a partitioned table: others have no row triggers
        raise ConfigurationError(f"{name!r} is not a table: watch the table of its rows")
    return Table(
        oid=oid,
        schema=schema,
        name=table,
        columns=tuple(columns),
        primary=tuple(primary),
        owner=owner,
        is_own=is_own,
        is_controlled=is_controlled,
        foreign_types=foreign_types,
    )


def create_watch(
    table: Table, *, channel: str, event: str, columns: Sequence[str] = (), key: str | None = None
) -> Watch:
    """Return a watch whose templates and columns fit the table.

    Raises:
        ConfigurationError: a template or column does not fit, or the watch would give one role the
            rights of another.

    """
    # The triggers' functions run as the table's owner: only who has those rights may create them.
    if not table.is_controlled:
        raise ConfigurationError(
            f"The table {table.name!r} belongs to the role {table.owner}: watch it as that role, "
            "as a member of it, or as a superuser"
        )
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
    watch = Watch(
        table=table,
        channel=channel_template,
        event=Template(event, table.columns, purpose="event"),
        columns=tuple(columns) or table.columns,
        key=Template(key, table.columns, purpose="key") if key else None,
    )
    for name in watch.published_columns:
        if role := table.foreign_types.get(name):
            # A conversion to text or JSON runs a cast, which the type's owner can define.
            raise ConfigurationError(
                f"The column {name!r} has a type of the role {role}, whose code would run with the "
                f"rights of {table.owner}: omit the column, or change the owner of the type"
            )
    return watch


def insert_watch(watch: Watch, prefix: str) -> Composed:
    """Return the SQL that stores a watch, in place of an earlier one of the table."""
    return SQL(
        "INSERT INTO {schema}.watches (relation, name, channel, event, columns, key) "
        "VALUES ({oid}, {name}, {channel}, {event}, {columns}, {key})"
    ).format(
        schema=Identifier(prefix),
        oid=Literal(watch.table.oid),
        name=watch.table.identifier.as_string(),
        channel=watch.channel.text,
        event=watch.event.text,
        columns=list(watch.columns),
        key=watch.key.text if watch.key else None,
    )


def delete_watch(table: Table, prefix: str) -> Composed:
    """Return the SQL that deletes the watch of a table, also of a dropped one of its name."""
    return SQL(
        "DELETE FROM {schema}.watches WHERE relation = {oid} OR (name = {name} "
        "AND NOT EXISTS (SELECT FROM pg_class WHERE pg_class.oid = relation))"
    ).format(
        schema=Identifier(prefix),
        oid=Literal(table.oid),
        name=table.identifier.as_string(),
    )


def list_watches(connection: psycopg.Connection, prefix: str) -> list[dict[str, str | None]]:
    """Return the table, channel, event, key and problem of each watch; see `watch_status`."""
    return [asdict(to_status(row)) for row in connection.execute(status_query(prefix))]


def find_watched_table(connection: psycopg.Connection, name: str, prefix: str) -> Table | None:
    """Return the watched table of a name; None for a dropped one, after deleting its watch.

    Raises:
        ConfigurationError: no table of this name is watched.

    """
    try:
        table = find_table(connection, name)
    except ConfigurationError:
        query = SQL(_DELETE_DROPPED).format(Identifier(prefix))
        if not connection.execute(query, {"name": name}).rowcount:
            raise
        return None
    watched = [str(rule["table"]) for rule in list_watches(connection, prefix)]
    (spelling,) = connection.execute(_SPELLING, [table.oid]).fetchone() or ("",)
    if spelling not in watched:
        others = f"watched are {', '.join(watched)}" if watched else "no table is watched"
        raise ConfigurationError(f"The table {name} is not watched: {others}")
    return table


def load_watches(connection: psycopg.Connection, prefix: str) -> list[Watch]:
    """Return the stored watches, without the columns that their tables have lost.

    A table that was dropped and created again is found by its name.

    Raises:
        ConfigurationError: a template names a column that is gone.

    """
    query = SQL(
        "SELECT coalesce(pg_class.oid::regclass, to_regclass(w.name))::text, "
        "channel, event, columns, key "
        "FROM {}.watches w LEFT JOIN pg_class ON pg_class.oid = relation "
        "WHERE coalesce(pg_class.oid::regclass, to_regclass(w.name)) IS NOT NULL ORDER BY number"
    )
    watches = []
    for name, channel, event, columns, key in connection.execute(query.format(Identifier(prefix))):
        table = find_table(connection, name)
        remaining = [column for column in columns if column in table.columns]
        watches.append(
            create_watch(table, channel=channel, event=event, columns=remaining, key=key)
        )
    return watches


_SPELLING = "SELECT %s::oid::regclass::text"

_DELETE_DROPPED: LiteralString = """
DELETE FROM {}.watches WHERE to_regclass(name) IS NULL
    AND NOT EXISTS (SELECT FROM pg_class WHERE pg_class.oid = relation)
    AND (parse_ident(name))[3 - cardinality(parse_ident(%(name)s)):] = parse_ident(%(name)s)
"""
"""A name without a schema stands for a table of any schema."""

# Arrays, domains, composite types and ranges contain other types, each with an owner.
_TABLE = """
WITH RECURSIVE part (attname, type) AS (
    SELECT attname, atttypid FROM pg_attribute
    WHERE attrelid = to_regclass(%(name)s) AND attnum > 0 AND NOT attisdropped
    UNION
    SELECT part.attname, inner_type FROM part JOIN pg_type t ON t.oid = part.type
    CROSS JOIN LATERAL (
        SELECT unnest(ARRAY[t.typelem, t.typbasetype]) AS inner_type
        UNION ALL SELECT atttypid FROM pg_attribute
            WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid
    ) AS contained WHERE inner_type <> 0
)
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text,
    ARRAY(SELECT attname::text FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum),
    ARRAY(SELECT a.attname::text FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary),
    pg_get_userbyid(c.relowner), pg_get_userbyid(c.relowner) = current_user,
    pg_has_role(c.relowner, 'MEMBER'),
    (SELECT coalesce(jsonb_object_agg(part.attname, rolname), '{}') FROM part
        JOIN pg_type t ON t.oid = part.type JOIN pg_roles r ON r.oid = t.typowner
        WHERE t.typowner <> c.relowner AND NOT rolsuper)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(%(name)s)
"""
