"""What a watch costs a bulk UPDATE, and how soon it is heard: python bench/postgres_watch.py."""

import asyncio
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg

from realtime_bridge import Event
from realtime_bridge.client import HybridClient
from realtime_bridge.postgres import triggers, watches
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import COMMAND, SECRET, Process, ServeProcess
from tests.services.postgres import PostgresServer

ROWS, ROUNDS = 100_000, 3
UPDATES = 200
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


def watch(url: str, key: str | None) -> None:
    """Do what `realtime-bridge postgres watch` does."""
    with psycopg.connect(url, autocommit=True) as connection:
        table = watches.find_table(connection, "jobs")
        templates = {"channel": "user-{user_id}", "event": "job.{op}"}
        rule = watches.create_watch(table, columns=["id", "status"], key=key, **templates)
        for statement in triggers.create_triggers(rule, "realtime"):
            connection.execute(statement)


def compare(server: PostgresServer) -> None:
    """Compare with a trigger that inserts one row each into a plain table."""
    plain, watched, keyed = (made(server) for _ in range(3))
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(PLAIN)
    watch(watched, None)
    watch(keyed, "{id}")
    rounds = [(bulk(plain), bulk(watched), bulk(keyed)) for _ in range(ROUNDS)]
    for number, name in enumerate(("watched", "watched, with a key"), start=1):
        ours = statistics.median(taken[number] for taken in rounds)
        ratio = statistics.median(taken[number] / taken[0] for taken in rounds)
        print(f"{ROWS:,} rows: {ours:.1f} s {name}, {ratio:.1f} times the plain trigger's")


async def arrivals(server: PostgresServer, folder: Path) -> None:
    """Measure from a line that psql is given, through a relay and our server, to a handler."""
    url = server.database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int, status int)")
        connection.execute("INSERT INTO jobs VALUES (1, 1, 0)")
    watch(url, "{id}")
    with ExitStack() as exits:
        variables = {"REALTIME_SECRET": SECRET, "REALTIME_BACKEND": "websocket"}
        serving = exits.enter_context(ServeProcess(folder=folder, variables=variables))
        variables |= {
            "REALTIME_POSTGRES_URL": url,
            "REALTIME_WEBSOCKET_URL": serving.url,
        }
        relay = exits.enter_context(Process(COMMAND, "relay", folder=folder, variables=variables))
        await asyncio.to_thread(relay.line, "relaying")
        taken = await one_by_one(serving.url, url)
    cuts = statistics.quantiles(taken, n=100)
    print(f"psql's UPDATE to a handler: p50 {1e3 * cuts[49]:.1f} ms, p99 {1e3 * cuts[98]:.1f} ms")


async def one_by_one(url: str, database: str) -> list[float]:
    """Return how long each of psql's updates took to its event."""
    token = Tokens(SECRET, issuer="realtime").issue("1", channels=["user-1"], seconds=3_600)
    taken = []
    psql = await asyncio.create_subprocess_exec("psql", "-qX", database, stdin=PIPE)
    assert psql.stdin
    async with HybridClient(url, ["user-1"], token=token) as client:
        await client.wait_subscribed()
        for number in range(1, UPDATES + 1):
            begun = time.perf_counter()
            psql.stdin.write(f"UPDATE jobs SET status = {number};\n".encode())
            event = await anext(aiter(client))
            assert isinstance(event, Event)
            assert event.data["status"] == number
            taken.append(time.perf_counter() - begun)
    psql.stdin.close()
    await psql.wait()
    return taken


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with PostgresServer(folder / "postgres") as server:
            compare(server)
            asyncio.run(arrivals(server, folder))


if __name__ == "__main__":
    main()
