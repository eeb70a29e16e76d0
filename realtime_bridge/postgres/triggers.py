"""Triggers of a watch, as SQL: one INSERT for all rows that a statement changed."""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from realtime_bridge.model.event import MAX_DATA_BYTES, MAX_EVENT_NAME
from realtime_bridge.model.position import MAX_LABEL
from realtime_bridge.model.text import UNPRINTABLE
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

# OFFSET 0 keeps the planner from inlining the subquery: the data is then built once per row.
# MATERIALIZED: `checked` has two readers, and its expressions are evaluated once.
# NOT is_named leaves out NULL: a row without a channel is skipped on purpose, without a warning.
BODY: LiteralString = """
DECLARE
  unnamed bigint;
  unreadable bigint;
BEGIN
  WITH changed AS (
    SELECT {channel} AS channel, {event} AS event, {key} AS key,
      CASE WHEN octet_length(payload.data) <= {max_bytes}
        THEN payload.data ELSE {small}::text END AS body
    FROM {rows} CROSS JOIN LATERAL (SELECT {data}::text AS data OFFSET 0) AS payload
    WHERE {condition}
  ), checked AS MATERIALIZED (
    SELECT *, {schema}.is_channel(channel) AS is_named, {schema}.is_readable(body) AS is_readable
    FROM changed
  ), written AS (
    INSERT INTO {schema}.outbox (channel, event, body, key)
    SELECT channel,
      coalesce(nullif(left(regexp_replace(event, {unprintable}, {mark}, 'g'), {max_name}), ''),
        {operation}),
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
"""Body of the trigger function. The application's own statement never fails with it: a row that
cannot be an event is skipped with a warning, and so is the statement after any other failure."""

_MARK = "\N{REPLACEMENT CHARACTER}"


def create_triggers(watch: Watch, prefix: str) -> list[Composed]:
    """Return the SQL that creates a watch's triggers, in place of earlier ones of the table."""
    created = [
        part
        for operation in TRANSITION_TABLES
        for part in (_function(watch, operation, prefix), _trigger(watch, operation, prefix))
    ]
    return [*drop_triggers(watch.table, prefix), insert_watch(watch, prefix), *created]


def recreate_triggers(connection: psycopg.Connection, prefix: str) -> list[Composed]:
    """Return the SQL that creates the triggers of all watches again, as this version has them.

    Raises:
        ConfigurationError: a watch names a column that is gone.

    """
    watches = load_watches(connection, prefix)
    return [part for watch in watches for part in create_triggers(watch, prefix)]


def drop_triggers(table: Table, prefix: str) -> list[Composed]:
    """Return the SQL that drops a watch's triggers."""
    dropped = [  # CASCADE drops the trigger with its function
        SQL("DROP FUNCTION IF EXISTS {} CASCADE").format(_name(table, operation, prefix))
        for operation in TRANSITION_TABLES
    ]
    return [*dropped, delete_watch(table, prefix)]


def _function(watch: Watch, operation: str, prefix: str) -> Composed:
    """Return the SQL of the function; its body is one literal, so no template can end it."""
    return SQL(
        "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        "SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '64MB' AS {}"
    ).format(
        _name(watch.table, operation, prefix), Literal(_body(watch, operation, prefix).as_string())
    )


def _body(watch: Watch, operation: str, prefix: str) -> Composed:
    row = ALIASES[TRANSITION_TABLES[operation][0]]
    return SQL(BODY).format(
        schema=Identifier(prefix),
        channel=watch.channel.expression(row, operation),
        event=watch.event.expression(row, operation),
        data=_json_object(watch.columns, row),
        small=_json_object(watch.table.primary, row),
        key=watch.key.expression(row, operation) if watch.key else SQL("NULL::text"),
        rows=_changed_rows(watch, operation),
        condition=_condition(watch, operation),
        operation=Literal(operation),
        max_name=Literal(MAX_EVENT_NAME),
        max_label=Literal(MAX_LABEL),
        max_bytes=Literal(MAX_DATA_BYTES),
        unprintable=Literal(UNPRINTABLE),
        mark=Literal(_MARK),
    )


def _trigger(watch: Watch, operation: str, prefix: str) -> Composed:
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
        name=_name(watch.table, operation, prefix),
    )


_KEYWORDS = {INSERT: SQL("INSERT"), UPDATE: SQL("UPDATE"), DELETE: SQL("DELETE")}


def _changed_rows(watch: Watch, operation: str) -> Composable:
    """Return the FROM clause: the changed rows, for an update each beside its old version."""
    table = TRANSITION_TABLES[operation][0]
    rows = SQL("{} AS {}").format(_rows(table), Identifier(ALIASES[table]))
    if not _has_old_versions(watch, operation):
        return rows
    same_row = SQL(" AND ").join(
        SQL("new_row.{0} = old_row.{0}").format(Identifier(name)) for name in watch.table.primary
    )
    return SQL("{} LEFT JOIN {} AS old_row ON {}").format(rows, _rows("OLD"), same_row)


def _condition(watch: Watch, operation: str) -> Composable:
    """Return the WHERE clause: for an update, a change in a published column.

    `*<>` compares the rows' bytes: json, xml and point have no equality operator.
    """
    if not _has_old_versions(watch, operation):
        return SQL("true")
    new, old = (
        SQL(", ").join(Identifier(row, name) for name in watch.published_columns)
        for row in ("new_row", "old_row")
    )
    return SQL("ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record").format(new, old)


def _has_old_versions(watch: Watch, operation: str) -> bool:
    """Return whether a primary key identifies each row's old version; else all rows are events."""
    return operation == UPDATE and bool(watch.table.primary)


def _rows(table: str) -> Identifier:
    return Identifier(f"{table.lower()}_rows")


def _json_object(columns: Sequence[str], row: str) -> Composed:
    """Return the SQL of a JSON object of columns.

    A function takes 100 arguments, a row has all columns of a table. jsonb would sort the keys.
    """
    values = SQL(", ").join(Identifier(row, name) for name in columns)
    return SQL("(SELECT row_to_json(chosen) FROM (SELECT {}) AS chosen)").format(values)


def _name(table: Table, operation: str, prefix: str) -> Identifier:
    return Identifier(prefix, f"watch_{table.oid}_{operation}")
