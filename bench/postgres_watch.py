"""What a watch costs a bulk UPDATE, beside a plain trigger: python bench/postgres_watch.py."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg

from realtime_bridge.database import triggers, watching
from tests.services.postgres import PostgresServer

ROWS, ROUNDS = 100_000, 3
PLAIN = """
CREATE TABLE plain (id int, user_id int, status text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO plain VALUES (NEW.id, NEW.user_id, NEW.status); RETURN NULL; END';
CREATE TRIGGER note AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note();
"""


def made(server: PostgresServer) -> str:
    """Make a database with a table of so many rows."""
    url = server.database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE realtime.settings SET history_events = 1000000, history_bytes = 1e9"
        )
        connection.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int, status text)")
        connection.execute(
            f"INSERT INTO jobs SELECT n, n % 100, 'queued' FROM generate_series(1, {ROWS}) AS n"
        )
    return url


def bulk(url: str) -> float:
    """Return how long an UPDATE of all rows takes."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        begun = time.perf_counter()
        connection.execute("UPDATE jobs SET status = 'at ' || clock_timestamp()")
        return time.perf_counter() - begun


def main() -> None:
    with PostgresServer(Path(tempfile.mkdtemp())) as server:
        plain, watched = made(server), made(server)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(PLAIN)
        with psycopg.connect(watched, autocommit=True) as connection:
            table = watching.find_table(connection, "jobs")
            watch = watching.describe(
                table,
                channel="user-{user_id}",
                event="job.{op}",
                columns=["id", "status"],
                key="{id}",
            )
            for statement in triggers.install(watch, "realtime"):
                connection.execute(statement)
        pairs = [(bulk(watched), bulk(plain)) for _ in range(ROUNDS)]
        ours = statistics.median(pair[0] for pair in pairs)
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        print(f"{ROWS:,} rows: {ours:.1f} s watched, {ratio:.1f} times the plain trigger's")


if __name__ == "__main__":
    main()
