"""Functions of a table's watch in the schema of the log: their removal and their owner."""

from collections.abc import Collection
from typing import LiteralString

from psycopg.sql import SQL, Composed, Identifier, Literal

from realtime_bridge.postgres.watches import Table


def drop_functions(table: Table, prefix: str) -> Composed:
    """Return the SQL that drops the functions of a table's watch.

    The table's triggers name them, whichever database or version created them.
    """
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


def _drop(condition: LiteralString, prefix: str, oid: int = 0) -> Composed:
    """Return the SQL that drops functions of watches; CASCADE drops their triggers with them."""
    query = SQL(
        "SELECT DISTINCT p.oid::regprocedure FROM pg_proc p "
        "LEFT JOIN pg_trigger t ON t.tgfoid = p.oid {condition} "
        "AND p.pronamespace = quote_ident({schema})::regnamespace "
        "AND p.prorettype = 'trigger'::regtype AND p.proname LIKE 'watch\\_%'"
    ).format(
        condition=SQL(condition).format(oid=Literal(oid)),
        schema=Literal(prefix),
    )
    body = SQL(
        "DECLARE name regprocedure; BEGIN FOR name IN {} LOOP "
        "EXECUTE format('DROP FUNCTION %s CASCADE', name); END LOOP; END"
    ).format(query)
    return SQL("DO {}").format(Literal(body.as_string()))
