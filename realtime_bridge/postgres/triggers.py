"""Triggers of a watch, as SQL: one INSERT for all rows that a statement changed."""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.model.ids import epoch
from realtime_bridge.model.names import MAX_EVENT_NAME, MAX_LABEL
from realtime_bridge.model.text import UNPRINTABLE
from realtime_bridge.model.user import USER_START
from realtime_bridge.postgres.watch_functions import (
    drop_functions,
    drop_unused_functions,
    give_to_owner,
)
from realtime_bridge.postgres.watches import (
    Table,
    Watch,
    delete_watch,
    insert_watch,
    load_watches,
)

INSERT, UPDATE, DELETE = "insert", "update", "delete"
TRANSITION_TABLES: dict[str, tuple[LiteralString, ...]] = {
    INSERT: ("NEW",),
    UPDATE: ("NEW", "OLD"),
    DELETE: ("OLD",),
}
"""The rows that a statement's trigger can read; events have the values of the first."""

ALIASES = {"NEW": "new_row", "OLD": "old_row"}
"""Names of one row; NEW and OLD themselves are variables of PL/pgSQL."""

# The application's own statement never fails: a row that cannot be an event is skipped with a
# warning, and so is the statement after any other failure.
# Without a row there is nothing to do: no transaction id is used, and nothing written.
# A function that runs as its owner must not convert values of another role's table: a conversion
# can run code of that role.
# MATERIALIZED: `checked` has two readers, and its expressions are evaluated once.
# NOT is_named leaves out NULL: a row without a channel is skipped on purpose, without a warning.
BODY: LiteralString = """
DECLARE
  unnamed bigint;
  unreadable bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM {rows}) THEN
    RETURN NULL;
  END IF;
  IF (SELECT pg_get_userbyid(relowner) <> current_user FROM pg_class WHERE oid = TG_RELID) THEN
    RAISE WARNING 'realtime: changes of % are not published: it has another owner. '
      'Watch the table again', TG_TABLE_NAME;
    RETURN NULL;
  END IF;
  WITH changed AS ({changes}), checked AS MATERIALIZED (
    SELECT *, {schema}.is_channel(channel) AS is_named, {schema}.is_readable(body) AS is_readable
    FROM changed
  ), written AS (
    INSERT INTO {schema}.outbox (channel, event, body, key)
    SELECT channel,
      coalesce(nullif(left(regexp_replace(event, {unprintable}, {mark}, 'g'), {max_name}), ''),
        operation),
      body, nullif(left(regexp_replace(key, {unprintable}, {mark}, 'g'), {max_label}), '')
    FROM checked WHERE is_named AND is_readable
  )
  SELECT count(*) FILTER (WHERE NOT is_named),
    count(*) FILTER (WHERE is_named AND NOT is_readable)
  INTO unnamed, unreadable FROM checked;
  IF unnamed > 0 THEN
    RAISE WARNING 'realtime: % rows of % name no channel', unnamed, TG_TABLE_NAME;
  END IF;
  IF unreadable > 0 THEN
    RAISE WARNING 'realtime: % rows of % have JSON that no client reads', unreadable, TG_TABLE_NAME;
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'realtime: changes of % are not published: %. Watch the table again',
    TG_TABLE_NAME, SQLERRM;
  RETURN NULL;
END
"""

# OFFSET 0 keeps the planner from inlining the subquery: the data is then built once per row.
CHANGES: LiteralString = """
    SELECT {channel} AS channel, {event} AS event, {key} AS key, {operation} AS operation,
      {schema}.text_of_large_integers(CASE WHEN octet_length(payload.data) <= {max_bytes}
        THEN payload.data ELSE {small}::text END) AS body
    FROM {rows} CROSS JOIN LATERAL (SELECT {data}::text AS data OFFSET 0) AS payload
    WHERE {condition}
"""
"""Events of changed rows, or of the rows that left their channel or key."""

_MARK = "\N{REPLACEMENT CHARACTER}"

_NAME_BYTES = 40
"""Bytes of a function's name that show the table; PostgreSQL cuts names at 63."""


def create_triggers(watch: Watch, prefix: str) -> list[Composed]:
    """Return the SQL that creates a watch's triggers, in place of earlier ones of the table."""
    # A random part: the functions of a restored, renamed or swapped table keep their names.
    name = f"watch_{watch.table.name.encode()[:_NAME_BYTES].decode(errors='ignore')}_{epoch()}"
    functions = {
        operation: Identifier(prefix, f"{name}_{operation}") for operation in TRANSITION_TABLES
    }
    created = [
        part
        for operation, function in functions.items()
        for part in (
            _function(function, watch, operation, prefix),
            # A role that may call it could make it run on a table with its own types.
            SQL("REVOKE ALL ON FUNCTION {}() FROM PUBLIC").format(function),
            _trigger(function, watch, operation, prefix),
        )
    ]
    owned = [] if watch.table.is_own else give_to_owner(watch.table, prefix, functions.values())
    return [*drop_triggers(watch.table, prefix), insert_watch(watch, prefix), *created, *owned]


def recreate_triggers(connection: psycopg.Connection, prefix: str) -> list[Composed]:
    """Return the SQL that creates the triggers of all watches again, as this version has them.

    Raises:
        ConfigurationError: a watch names a column that is gone.

    """
    watches = load_watches(connection, prefix)
    created = [part for watch in watches for part in create_triggers(watch, prefix)]
    return [*created, drop_unused_functions(prefix)]


def drop_triggers(table: Table, prefix: str) -> list[Composed]:
    """Return the SQL that drops a watch's triggers."""
    return [drop_functions(table, prefix), delete_watch(table, prefix)]


def _function(name: Identifier, watch: Watch, operation: str, prefix: str) -> Composed:
    """Return the SQL of the function; its body is one literal, so no template can end it."""
    return SQL(
        "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        "SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '64MB' AS {}"
    ).format(name, Literal(_body(watch, operation, prefix).as_string()))


def _body(watch: Watch, operation: str, prefix: str) -> Composed:
    return SQL(BODY).format(
        rows=_rows(TRANSITION_TABLES[operation][0]),
        changes=SQL("UNION ALL").join(_changes(watch, operation, prefix)),
        schema=Identifier(prefix),
        max_name=Literal(MAX_EVENT_NAME),
        max_label=Literal(MAX_LABEL),
        unprintable=Literal(UNPRINTABLE),
        mark=Literal(_MARK),
    )


def _changes(watch: Watch, operation: str, prefix: str) -> list[Composed]:
    """Return the queries of the events; those of rows that left come first."""
    table = TRANSITION_TABLES[operation][0]
    if operation != UPDATE or not watch.table.primary:
        # Without a primary key nothing identifies a row's old version: all rows are events.
        return [_select(watch, operation, prefix, _named(table), SQL("true"))]
    new, old = ALIASES["NEW"], ALIASES["OLD"]
    same_row = SQL(" AND ").join(
        SQL("new_row.{0} = old_row.{0}").format(Identifier(name)) for name in watch.table.primary
    )
    join = SQL("{} LEFT JOIN {} ON {}")
    old_channel = _channel(watch, old, DELETE, prefix)
    # The place in the old version and in the new one: a key that changed must not stay as it was.
    has_left = SQL("(new_row.{} IS NULL OR ({}) IS DISTINCT FROM ({})) AND {}.is_channel({})")
    return [
        _select(
            watch,
            DELETE,
            prefix,
            join.format(_named("OLD"), _named("NEW"), same_row),
            has_left.format(
                Identifier(watch.table.primary[0]),
                _place(watch, old, prefix),
                _place(watch, new, prefix),
                Identifier(prefix),
                old_channel,
            ),
        ),
        _select(
            watch,
            UPDATE,
            prefix,
            join.format(_named("NEW"), _named("OLD"), same_row),
            _has_changed(watch),
        ),
    ]


def _select(
    watch: Watch, operation: str, prefix: str, rows: Composable, condition: Composable
) -> Composed:
    row = ALIASES[TRANSITION_TABLES[operation][0]]
    return SQL(CHANGES).format(
        schema=Identifier(prefix),
        channel=_channel(watch, row, operation, prefix),
        event=watch.event.expression(row, operation),
        data=_json_object(watch.columns, row),
        small=_json_object(watch.table.primary, row),
        key=_key(watch, row, operation),
        operation=Literal(operation),
        rows=rows,
        condition=condition,
        max_bytes=Literal(MAX_DATA_BYTES),
    )


def _channel(watch: Watch, row: str, operation: str, prefix: str) -> Composable:
    """Return the SQL of the channel; a user's channel has the id as `user_channel` writes it."""
    user = watch.channel.after(USER_START)
    if user is None:
        return watch.channel.expression(row, operation)
    return SQL("{}.user_channel({})").format(Identifier(prefix), user.expression(row, operation))


def _key(watch: Watch, row: str, operation: str) -> Composable:
    return watch.key.expression(row, operation) if watch.key else SQL("NULL::text")


def _place(watch: Watch, row: str, prefix: str) -> Composed:
    # One operation for both versions: a template with {op} would differ otherwise.
    channel = _channel(watch, row, UPDATE, prefix)
    return SQL("ROW({}, {})").format(channel, _key(watch, row, UPDATE))


def _trigger(name: Identifier, watch: Watch, operation: str, prefix: str) -> Composed:
    tables = SQL(" ").join(
        SQL("{} TABLE AS {}").format(SQL(table), _rows(table))
        for table in TRANSITION_TABLES[operation]
    )
    return SQL(
        "CREATE TRIGGER {trigger} AFTER {operation} ON {table} REFERENCING {tables} "
        "FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
    ).format(
        trigger=Identifier(f"{prefix}_{operation}"),
        operation=_KEYWORDS[operation],
        table=watch.table.identifier,
        tables=tables,
        name=name,
    )


_KEYWORDS = {INSERT: SQL("INSERT"), UPDATE: SQL("UPDATE"), DELETE: SQL("DELETE")}


def _has_changed(watch: Watch) -> Composable:
    """Return the condition of an update: a change in a published column.

    `*<>` compares the rows' bytes: json, xml and point have no equality operator.
    """
    new, old = (
        SQL(", ").join(Identifier(row, name) for name in watch.published_columns)
        for row in ("new_row", "old_row")
    )
    return SQL("ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record").format(new, old)


def _rows(table: str) -> Identifier:
    return Identifier(f"{table.lower()}_rows")


def _named(table: str) -> Composed:
    return SQL("{} AS {}").format(_rows(table), Identifier(ALIASES[table]))


def _json_object(columns: Sequence[str], row: str) -> Composed:
    """Return the SQL of a JSON object of columns.

    A function takes 100 arguments, a row has all columns of a table. jsonb would sort the keys.
    """
    values = SQL(", ").join(Identifier(row, name) for name in columns)
    return SQL("(SELECT row_to_json(chosen) FROM (SELECT {}) AS chosen)").format(values)
