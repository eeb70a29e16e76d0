"""Cost of a watch for a bulk UPDATE, and its latency: python bench/postgres_watch.py."""

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


def create_database(server: PostgresServer) -> str:
    """Create a database with a table of ROWS rows, and return its URL."""
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
    """Return the duration of an UPDATE of all rows, in seconds."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        start = time.perf_counter()
        connection.execute("UPDATE jobs SET status = 'at ' || clock_timestamp()")
        return time.perf_counter() - start


def watch(url: str, key: str | None) -> None:
    """Watch the table like `realtime-bridge postgres watch`."""
    with psycopg.connect(url, autocommit=True) as connection:
        table = watches.find_table(connection, "jobs")
        templates = {"channel": "user-{user_id}", "event": "job.{op}"}
        rule = watches.create_watch(table, columns=["id", "status"], key=key, **templates)
        for statement in triggers.create_triggers(rule, "realtime"):
            connection.execute(statement)


def compare(server: PostgresServer) -> None:
    """Compare with a trigger that inserts one row each into a plain table."""
    plain, watched, keyed = (create_database(server) for _ in range(3))
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(PLAIN)
    watch(watched, None)
    watch(keyed, "{id}")
    rounds = [(bulk(plain), bulk(watched), bulk(keyed)) for _ in range(ROUNDS)]
    for number, name in enumerate(("watched", "watched, with a key"), start=1):
        ours = statistics.median(durations[number] for durations in rounds)
        ratio = statistics.median(durations[number] / durations[0] for durations in rounds)
        print(f"{ROWS:,} rows: {ours:.1f} s {name}, {ratio:.1f} times the plain trigger's")


async def arrivals(server: PostgresServer, folder: Path) -> None:
    """Measure the latency from psql through a relay and our server to a handler."""
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
        latencies = await one_by_one(serving.url, url)
    cuts = statistics.quantiles(latencies, n=100)
    print(f"psql's UPDATE to a handler: p50 {1e3 * cuts[49]:.1f} ms, p99 {1e3 * cuts[98]:.1f} ms")


async def one_by_one(url: str, database: str) -> list[float]:
    """Return the latency from each update by psql to its event, in seconds."""
    token = Tokens(SECRET, issuer="realtime").issue("1", channels=["user-1"], seconds=3_600)
    latencies = []
    psql = await asyncio.create_subprocess_exec("psql", "-qX", database, stdin=PIPE)
    assert psql.stdin
    async with HybridClient(url, ["user-1"], token=token) as client:
        await client.wait_subscribed()
        for number in range(1, UPDATES + 1):
            start = time.perf_counter()
            psql.stdin.write(f"UPDATE jobs SET status = {number};\n".encode())
            event = await anext(aiter(client))
            assert isinstance(event, Event)
            assert event.data["status"] == number
            latencies.append(time.perf_counter() - start)
    psql.stdin.close()
    await psql.wait()
    return latencies


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with PostgresServer("fsync=on") as server:
            compare(server)
            asyncio.run(arrivals(server, folder))


if __name__ == "__main__":
    main()
