"""Status of watches: what the database's catalogue has beside the stored rules."""

from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple

from msgspec import Struct
from psycopg.sql import SQL, Composed, Identifier, Literal

# FULL JOIN: a rule without triggers publishes nothing, and triggers without a rule still publish.
_QUERY: LiteralString = """
WITH triggered AS (
    SELECT t.tgrelid AS oid, count(*) AS triggers, bool_or(t.tgenabled = 'D') AS any_disabled,
        bool_or(p.proowner <> c.relowner) AS any_foreign
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
    WHERE p.pronamespace = quote_ident({prefix})::regnamespace AND p.proname LIKE 'watch\\_%'
    GROUP BY t.tgrelid
)
SELECT coalesce(c.oid::regclass::text, w.name), w.channel, w.event, w.key,
    c.oid IS NOT NULL, to_regclass(w.name) IS NOT NULL,
    coalesce(triggered.triggers, 0), coalesce(any_disabled, false), coalesce(any_foreign, false)
FROM {schema}.watches w FULL JOIN triggered ON triggered.oid = w.relation
LEFT JOIN pg_class c ON c.oid = coalesce(w.relation, triggered.oid)
ORDER BY 1
"""

_TRIGGERS = 3

_INSTALL = "run `realtime-bridge postgres install`"


class WatchStatus(Struct, frozen=True):
    """Rule of a watched table, and what keeps it from working; a rule may be missing."""

    table: str
    channel: str | None
    event: str | None
    key: str | None
    problem: str | None
    """The fact and one thing to do; None for a watch that works."""


def status_query(prefix: str) -> Composed:
    """Return the query whose rows `to_status` takes."""
    return SQL(_QUERY).format(schema=Identifier(prefix), prefix=Literal(prefix))


class _Row(NamedTuple):
    """Row of the query."""

    table: str
    channel: str | None
    event: str | None
    key: str | None
    exists: bool
    is_name_used: bool
    triggers: int
    is_disabled: bool
    is_foreign: bool


def to_status(row: Sequence[Any]) -> WatchStatus:
    """Return the status of a row of the query."""
    fields = _Row(*row)
    table, channel, event, key, *_ = fields
    return WatchStatus(table, channel, event, key, _problem(fields))


def _problem(row: _Row) -> str | None:
    unwatch = f"run `realtime-bridge postgres unwatch {row.table}`"
    problems = (
        (row.channel is None, f"it has triggers without a watch: {unwatch}"),
        (not row.exists and not row.is_name_used, f"the table was dropped: {unwatch}"),
        (not row.exists, f"the table was dropped and created again: {_INSTALL}"),
        (row.triggers < _TRIGGERS, f"its triggers are missing: {_INSTALL}"),
        (row.is_foreign, f"the table has another owner than its watch: {_INSTALL}"),
        (
            row.is_disabled,
            f"its triggers are disabled: run ALTER TABLE {row.table} ENABLE TRIGGER USER",
        ),
    )
    return next((problem for applies, problem in problems if applies), None)
