"""Functions of a table's watch in the schema of the log: their removal and their owner."""

from collections.abc import Collection
from typing import LiteralString

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from realtime_bridge.postgres.watches import Table


def drop_functions(table: Table, prefix: str) -> Composed:
    """Return the SQL that drops the functions of a table's watch: its triggers name them."""
    return _drop("WHERE t.tgrelid = {oid}", prefix, table.oid)


def drop_unused_functions(prefix: str) -> Composed:
    """Return the SQL that drops the functions of tables that were dropped."""
    return _drop("WHERE t.oid IS NULL", prefix)


def give_to_owner(table: Table, prefix: str, functions: Collection[Identifier]) -> list[Composed]:
    """Return the SQL that makes the functions run with the rights of the table's owner.

    The functions convert values of the table, and a conversion can run code of the owner. Of the
    log, the owner gets the right to add to the outbox.
    """
    names = {"schema": Identifier(prefix), "owner": Identifier(table.owner)}
    given = [
        SQL("ALTER FUNCTION {}() OWNER TO {owner};").format(function, **names)
        for function in functions
    ]
    # PostgreSQL demands the right to create for the moment of the change.
    body = SQL(
        "DECLARE could_create boolean := has_schema_privilege({role}, {name}, 'CREATE'); BEGIN "
        "IF NOT could_create THEN GRANT CREATE ON SCHEMA {schema} TO {owner}; END IF; {given} "
        "IF NOT could_create THEN REVOKE CREATE ON SCHEMA {schema} FROM {owner}; END IF; END"
    ).format(role=Literal(table.owner), name=Literal(prefix), given=SQL(" ").join(given), **names)
    return [
        SQL("GRANT USAGE ON SCHEMA {schema} TO {owner}").format(**names),
        SQL("GRANT INSERT (channel, event, body, key) ON {schema}.outbox TO {owner}").format(
            **names
        ),
        SQL("DO {}").format(Literal(body.as_string())),
    ]


# One row for each function of a watch, whichever database or version created it.
_FUNCTIONS: LiteralString = """
SELECT DISTINCT p.oid::regprocedure AS name, p.proowner AS owner FROM pg_proc p
LEFT JOIN pg_trigger t ON t.tgfoid = p.oid {condition}
    AND p.pronamespace = quote_ident({prefix})::regnamespace
    AND p.prorettype = 'trigger'::regtype AND p.proname LIKE 'watch\\_%'
"""

# CASCADE drops the triggers with their functions. Then an owner without another function loses what
# `give_to_owner` gave, but for the USAGE of the schema: it alone gives nothing, and may be older.
_DROP: LiteralString = """
DECLARE
  dropped record;
  owners oid[] := ARRAY[]::oid[];
BEGIN
  FOR dropped IN {functions} LOOP
    EXECUTE format('DROP FUNCTION %s CASCADE', dropped.name);
    owners := owners || dropped.owner;
  END LOOP;
  FOR dropped IN
    SELECT r.rolname AS owner FROM pg_roles r
    JOIN pg_class outbox ON outbox.oid = {outbox}::regclass
    WHERE r.oid = ANY(owners) AND r.rolname <> current_user
      AND r.oid <> outbox.relowner AND pg_has_role(outbox.relowner, 'USAGE')
      AND r.oid <> ALL (ARRAY(SELECT remaining.owner FROM ({remaining}) AS remaining))
  LOOP
    EXECUTE format('REVOKE INSERT (channel, event, body, key) ON %s FROM %I',
      {outbox}, dropped.owner);
  END LOOP;
END
"""


def _drop(condition: LiteralString, prefix: str, oid: int = 0) -> Composed:
    """Return the SQL that drops functions of watches, and takes back the right of their owners."""
    body = SQL(_DROP).format(
        functions=_functions(SQL(condition).format(oid=Literal(oid)), prefix),
        remaining=_functions(SQL("WHERE true"), prefix),
        outbox=Literal(Identifier(prefix, "outbox").as_string()),
    )
    return SQL("DO {}").format(Literal(body.as_string()))


def _functions(condition: Composable, prefix: str) -> Composed:
    return SQL(_FUNCTIONS).format(condition=condition, prefix=Literal(prefix))
