"""The triggers of a watch, as SQL: one INSERT for all rows that a statement changed."""

from collections.abc import Sequence
from typing import LiteralString

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from realtime_bridge.model.channel import ALPHABET
from realtime_bridge.model.event import MAX_DATA_BYTES, MAX_EVENT_NAME
from realtime_bridge.model.position import MAX_LABEL
from realtime_bridge.postgres.watching import Table, Watch, forget, keep

INSERT, UPDATE, DELETE = "insert", "update", "delete"
SEEN: dict[str, tuple[LiteralString, ...]] = {
    INSERT: ("NEW",),
    UPDATE: ("NEW", "OLD"),
    DELETE: ("OLD",),
}
"""What a statement's trigger sees: its rows after, before, or both; the first is told."""

ALIASES = {"NEW": "fresh", "OLD": "stale"}
"""What they are called there: NEW and OLD mean something else in PL/pgSQL."""

BODY: LiteralString = """
DECLARE nobody bigint;
BEGIN
  WITH changed AS (
    SELECT {channel} AS channel, {event} AS event, {key} AS key,
      CASE WHEN octet_length(told.data) <= {most} THEN told.data ELSE {small}::text END AS body
    FROM {rows} CROSS JOIN LATERAL (SELECT {data}::text AS data OFFSET 0) AS told
    WHERE {differ}
  ), judged AS MATERIALIZED (
    SELECT *, channel ~ {alphabet} AND length(channel) <= 128 AS fits FROM changed
  ), written AS (
    INSERT INTO {schema}.outbox (channel, event, body, key)
    SELECT channel, coalesce(nullif(left(event, {longest}), ''), {operation}), body,
      nullif(left(key, {label}), '')
    FROM judged WHERE fits
  )
  SELECT count(*) INTO nobody FROM judged WHERE NOT fits;
  IF nobody > 0 THEN
    RAISE WARNING 'realtime: % rows of % name no channel', nobody, TG_TABLE_NAME;
  END IF;
  RETURN NULL;
END
"""
"""Whatever the rows hold, it does not fail: the application's own statement would with it."""


def install(watch: Watch, prefix: str) -> list[Composed]:
    """Return the SQL that makes the triggers, in place of any that the table has from us."""
    made = [
        part
        for operation in SEEN
        for part in (_function(watch, operation, prefix), _trigger(watch, operation, prefix))
    ]
    return [*remove(watch.table, prefix), keep(watch, prefix), *made]


def remove(table: Table, prefix: str) -> list[Composed]:
    """Return the SQL that removes the triggers."""
    dropped = [
        SQL("DROP FUNCTION IF EXISTS {} CASCADE").format(_name(table, operation, prefix))
        for operation in SEEN
    ]
    return [*dropped, forget(table, prefix)]


def _function(watch: Watch, operation: str, prefix: str) -> Composed:
    """Return the function; its body is a literal as a whole, so that no template can end it."""
    return SQL(
        "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        "SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '64MB' AS {}"
    ).format(
        _name(watch.table, operation, prefix), Literal(_body(watch, operation, prefix).as_string())
    )


def _body(watch: Watch, operation: str, prefix: str) -> Composed:
    row = ALIASES[SEEN[operation][0]]
    return SQL(BODY).format(
        schema=Identifier(prefix),
        channel=watch.channel.expression(row, operation),
        event=watch.event.expression(row, operation),
        data=_object(watch.columns, row),
        small=_object(watch.table.primary, row),
        key=watch.key.expression(row, operation) if watch.key else SQL("NULL::text"),
        rows=_changed(watch, operation),
        differ=_differ(watch, operation),
        operation=Literal(operation),
        longest=Literal(MAX_EVENT_NAME),
        label=Literal(MAX_LABEL),
        most=Literal(MAX_DATA_BYTES),
        alphabet=Literal(f"^[{ALPHABET}]+$"),
    )


def _trigger(watch: Watch, operation: str, prefix: str) -> Composed:
    seen = SQL(" ").join(
        SQL("{} TABLE AS {}").format(SQL(rows), _rows(rows)) for rows in SEEN[operation]
    )
    return SQL(
        "CREATE TRIGGER {trigger} AFTER {operation} ON {table} REFERENCING {seen} "
        "FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
    ).format(
        trigger=Identifier(f"{prefix}_{operation}"),
        operation=_WORDS[operation],
        table=watch.table.identifier,
        seen=seen,
        name=_name(watch.table, operation, prefix),
    )


_WORDS = {INSERT: SQL("INSERT"), UPDATE: SQL("UPDATE"), DELETE: SQL("DELETE")}


def _changed(watch: Watch, operation: str) -> Composable:
    """Return the rows that changed, of an update each beside what it was."""
    rows = SEEN[operation][0]
    told = SQL("{} AS {}").format(_rows(rows), Identifier(ALIASES[rows]))
    if not _is_compared(watch, operation):
        return told
    same = SQL(" AND ").join(
        SQL("fresh.{0} = stale.{0}").format(Identifier(name)) for name in watch.table.primary
    )
    return SQL("{} LEFT JOIN {} AS stale ON {}").format(told, _rows("OLD"), same)


def _differ(watch: Watch, operation: str) -> Composable:
    """Return which of them are events: of an update, those with a change in a column we tell.

    They are compared by their bytes: json, xml and points have no equality.
    """
    if not _is_compared(watch, operation):
        return SQL("true")
    fresh, stale = (
        SQL(", ").join(Identifier(row, name) for name in watch.told) for row in ("fresh", "stale")
    )
    return SQL("ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record").format(fresh, stale)


def _is_compared(watch: Watch, operation: str) -> bool:
    """Tell whether it is known which row was which; else each is an event."""
    return operation == UPDATE and bool(watch.table.primary)


def _rows(rows: str) -> Identifier:
    return Identifier(f"{rows.lower()}_rows")


def _object(columns: Sequence[str], row: str) -> Composed:
    pairs = [
        SQL("{}::text, {}.{}").format(Literal(name), Identifier(row), Identifier(name))
        for name in columns
    ]
    return SQL("json_build_object({})").format(SQL(", ").join(pairs))


def _name(table: Table, operation: str, prefix: str) -> Identifier:
    return Identifier(prefix, f"watch_{table.oid}_{operation}")
