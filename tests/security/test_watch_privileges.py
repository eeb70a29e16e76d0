"""Watched tables: no role gets the rights of another one by a watch or its functions."""

from collections.abc import Iterator

import psycopg
import pytest

from realtime_bridge import ConfigurationError
from realtime_bridge.postgres import triggers, watches
from tests.services.postgres import PostgresServer

# A cast of a type runs code of the type's owner, with the rights of the role that casts. This one
# makes its owner a superuser where it can.
CAST = """
CREATE TYPE {schema}.trap AS (number int);
CREATE FUNCTION {schema}.spring(trap {schema}.trap) RETURNS {target} LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'ALTER ROLE mallory SUPERUSER';
    RETURN '42';
END $$;
CREATE CAST ({schema}.trap AS {target}) WITH FUNCTION {schema}.spring({schema}.trap) {context};
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def admin(server: PostgresServer) -> Iterator[psycopg.Connection]:
    """Return a superuser's connection to a database with the log, in which others create tables."""
    with psycopg.connect(server.database(), autocommit=True) as connection:
        connection.execute("CREATE ROLE mallory LOGIN; CREATE ROLE ada LOGIN")
        for role in ("mallory", "ada"):
            connection.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
            connection.execute(f"GRANT USAGE ON SCHEMA realtime, {role} TO mallory, ada")
        yield connection
        connection.execute("DROP OWNED BY mallory, ada CASCADE")
        connection.execute("DROP ROLE mallory, ada")


def connect_as(admin: psycopg.Connection, role: str) -> psycopg.Connection:
    info = admin.info
    return psycopg.connect(
        host=info.host, port=info.port, dbname=info.dbname, user=role, autocommit=True
    )


@pytest.fixture
def mallory(admin: psycopg.Connection) -> Iterator[psycopg.Connection]:
    with connect_as(admin, "mallory") as connection:
        yield connection


def watch(
    connection: psycopg.Connection, table: str, *, channel: str = "user-{user_id}"
) -> list[str]:
    """Watch a table as `realtime-bridge postgres watch` does, and return the warnings."""
    warnings: list[str] = []
    connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    found = watches.find_table(connection, table)
    rule = watches.create_watch(found, channel=channel, event="row.{op}", key="{id}")
    with connection.transaction():
        for statement in triggers.create_triggers(rule, "realtime"):
            connection.execute(statement)
    return warnings


def is_superuser(admin: psycopg.Connection) -> bool:
    row = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'").fetchone()
    assert row
    return bool(row[0])


def published(admin: psycopg.Connection) -> list[tuple[str, str]]:
    query = 'SELECT channel, body FROM realtime.events ORDER BY channel, "offset"'
    return admin.execute(query).fetchall()


@pytest.mark.parametrize("target", ["text", "json"])
@pytest.mark.parametrize("when", ["before the watch", "after the watch"])
def test_casts_of_a_watched_table_run_as_its_owner(
    admin: psycopg.Connection, mallory: psycopg.Connection, target: str, when: str
) -> None:
    mallory.execute(CAST.format(schema="mallory", target=target, context=""))
    kind = "mallory.trap" if when == "before the watch" else "int"
    mallory.execute(f"CREATE TABLE mallory.jobs (id int PRIMARY KEY, user_id {kind})")
    watch(admin, "mallory.jobs")
    if when == "after the watch":
        mallory.execute(
            "ALTER TABLE mallory.jobs ALTER user_id TYPE mallory.trap USING ROW(user_id)"
        )
    mallory.execute("INSERT INTO mallory.jobs VALUES (1, ROW(42)::mallory.trap)")
    admin.execute("INSERT INTO mallory.jobs VALUES (2, ROW(42)::mallory.trap)")
    assert not is_superuser(admin)


def test_watched_table_of_another_role_publishes(
    admin: psycopg.Connection, mallory: psycopg.Connection
) -> None:
    mallory.execute("CREATE TABLE mallory.jobs (id int PRIMARY KEY, user_id int)")
    watch(admin, "mallory.jobs")
    mallory.execute("GRANT USAGE ON SCHEMA mallory TO ada")
    mallory.execute("GRANT INSERT ON mallory.jobs TO ada")
    mallory.execute("INSERT INTO mallory.jobs VALUES (1, 42)")
    with connect_as(admin, "ada") as ada:
        ada.execute("INSERT INTO mallory.jobs VALUES (2, 42)")
    assert [body for _, body in published(admin)] == [
        '{"id":1,"user_id":42}',
        '{"id":2,"user_id":42}',
    ]


def test_owner_of_a_watched_table_only_adds_to_the_outbox(
    admin: psycopg.Connection, mallory: psycopg.Connection
) -> None:
    mallory.execute("CREATE TABLE mallory.jobs (id int PRIMARY KEY, user_id int)")
    watch(admin, "mallory.jobs")
    for statement in (
        "SELECT * FROM realtime.events",
        "SELECT * FROM realtime.outbox",
        "DELETE FROM realtime.outbox",
        "INSERT INTO realtime.outbox (writer, channel, event) VALUES ('1', 'a', 'b')",
        "UPDATE realtime.settings SET history_events = 1",
        "CREATE FUNCTION realtime.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            mallory.execute(statement)


def unwatch(connection: psycopg.Connection, table: str) -> None:
    """Stop watching a table as `realtime-bridge postgres unwatch` does."""
    for statement in triggers.drop_triggers(watches.find_table(connection, table), "realtime"):
        connection.execute(statement)


def may_add(admin: psycopg.Connection, role: str) -> bool:
    query = "SELECT has_column_privilege(%s, 'realtime.outbox', 'channel', 'INSERT')"
    row = admin.execute(query, [role]).fetchone()
    assert row
    return bool(row[0])


def test_owner_loses_the_outbox_with_its_last_watch(
    admin: psycopg.Connection, mallory: psycopg.Connection
) -> None:
    for table in ("mallory.jobs", "mallory.orders"):
        mallory.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, user_id int)")
        watch(admin, table)
    watch(admin, "mallory.jobs")
    unwatch(admin, "mallory.jobs")
    assert may_add(admin, "mallory")
    mallory.execute("INSERT INTO mallory.orders VALUES (1, 42)")
    assert len(published(admin)) == 1
    unwatch(admin, "mallory.orders")
    assert not may_add(admin, "mallory")


def test_unwatch_of_a_table_given_away_takes_the_right_of_its_first_owner(
    admin: psycopg.Connection, mallory: psycopg.Connection
) -> None:
    mallory.execute("CREATE TABLE mallory.jobs (id int PRIMARY KEY, user_id int)")
    watch(admin, "mallory.jobs")
    admin.execute("ALTER TABLE mallory.jobs OWNER TO ada")
    watch(admin, "mallory.jobs")
    assert (may_add(admin, "mallory"), may_add(admin, "ada")) == (False, True)
    unwatch(admin, "mallory.jobs")
    assert not may_add(admin, "ada")


def test_unwatch_leaves_a_right_to_the_whole_outbox(
    admin: psycopg.Connection, mallory: psycopg.Connection
) -> None:
    admin.execute("GRANT INSERT ON realtime.outbox TO mallory")
    mallory.execute("CREATE TABLE mallory.jobs (id int PRIMARY KEY, user_id int)")
    watch(admin, "mallory.jobs")
    unwatch(admin, "mallory.jobs")
    assert may_add(admin, "mallory")


def test_table_given_away_is_no_longer_published(
    admin: psycopg.Connection, mallory: psycopg.Connection
) -> None:
    mallory.execute(CAST.format(schema="mallory", target="text", context=""))
    admin.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int)")
    warnings = watch(admin, "jobs")
    admin.execute("ALTER TABLE jobs OWNER TO mallory")
    admin.execute("GRANT CREATE ON SCHEMA public TO mallory")
    mallory.execute("ALTER TABLE jobs ALTER user_id TYPE mallory.trap USING ROW(user_id)")
    admin.execute("INSERT INTO jobs VALUES (1, ROW(42)::mallory.trap)")
    assert not is_superuser(admin)
    assert published(admin) == []
    assert any("has another owner" in warning for warning in warnings)


@pytest.mark.parametrize("function", ["append_outbox_at_commit", "register_transaction"])
def test_functions_of_the_log_serve_no_trigger_of_others(
    admin: psycopg.Connection, mallory: psycopg.Connection, function: str
) -> None:
    admin.execute("GRANT INSERT ON realtime.outbox TO mallory")
    mallory.execute(CAST.format(schema="mallory", target="xid8", context="AS IMPLICIT"))
    mallory.execute("CREATE TABLE mallory.bait (writer mallory.trap)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        mallory.execute(
            "CREATE TRIGGER bait AFTER INSERT ON mallory.bait "
            f"FOR EACH ROW EXECUTE FUNCTION realtime.{function}()"
        )
    mallory.execute("INSERT INTO mallory.bait VALUES (ROW(1)::mallory.trap)")
    assert not is_superuser(admin)


def test_function_of_a_watch_serves_no_trigger_of_others(
    admin: psycopg.Connection, mallory: psycopg.Connection
) -> None:
    admin.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int)")
    watch(admin, "jobs")
    rows = admin.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'watch%insert'").fetchall()
    ((name,),) = rows
    mallory.execute(CAST.format(schema="mallory", target="text", context=""))
    mallory.execute("CREATE TABLE mallory.bait (id int PRIMARY KEY, user_id mallory.trap)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        mallory.execute(
            "CREATE TRIGGER bait AFTER INSERT ON mallory.bait REFERENCING NEW TABLE AS new_rows "
            f'FOR EACH STATEMENT EXECUTE FUNCTION realtime."{name}"()'
        )
    # The owner of the function may: it runs nothing for another table.
    admin.execute(
        "CREATE TRIGGER bait AFTER INSERT ON mallory.bait REFERENCING NEW TABLE AS new_rows "
        f'FOR EACH STATEMENT EXECUTE FUNCTION realtime."{name}"()'
    )
    mallory.execute("INSERT INTO mallory.bait VALUES (1, ROW(1)::mallory.trap)")
    assert not is_superuser(admin)


@pytest.mark.parametrize("column", ["mallory.trap", "mallory.trap[]", "nested", "over_trap"])
def test_column_with_a_type_of_another_role_is_refused(
    admin: psycopg.Connection, mallory: psycopg.Connection, column: str
) -> None:
    mallory.execute(CAST.format(schema="mallory", target="text", context=""))
    admin.execute("CREATE TYPE nested AS (part mallory.trap)")
    admin.execute("CREATE DOMAIN over_trap AS mallory.trap")
    admin.execute(f"CREATE TABLE jobs (id int PRIMARY KEY, user_id int, trap {column})")
    with pytest.raises(ConfigurationError, match="'trap' has a type of the role mallory"):
        watch(admin, "jobs")


def test_role_without_the_owners_rights_is_refused(
    admin: psycopg.Connection, mallory: psycopg.Connection
) -> None:
    admin.execute("GRANT ALL ON SCHEMA realtime TO mallory")
    admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA realtime TO mallory")
    with connect_as(admin, "ada") as ada:
        ada.execute("CREATE TABLE ada.jobs (id int PRIMARY KEY, user_id int)")
        ada.execute("GRANT ALL ON ada.jobs TO mallory")
    with pytest.raises(ConfigurationError, match="belongs to the role ada"):
        watch(mallory, "ada.jobs")


def test_owner_with_rights_in_the_log_watches_without_a_superuser(
    admin: psycopg.Connection, mallory: psycopg.Connection
) -> None:
    admin.execute("ALTER SCHEMA realtime OWNER TO mallory")
    admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA realtime TO mallory")
    admin.execute("GRANT ada TO mallory")
    with connect_as(admin, "ada") as ada:
        ada.execute("CREATE TABLE ada.jobs (id int PRIMARY KEY, user_id int)")
    admin.execute("ALTER TABLE realtime.outbox OWNER TO mallory")
    watch(mallory, "ada.jobs")
    mallory.execute("INSERT INTO ada.jobs VALUES (1, 42)")
    assert published(admin) == [("user-42", '{"id":1,"user_id":42}')]
