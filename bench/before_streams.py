"""Plain publishes now and before streams existed, on each log, in turn.

The earlier code is exported from this repository's history, so the clone has to be a full one.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.harness import HERE, LOAD_CORE, cpu_seconds, start_on_core
from bench.peers import redis as run_redis
from bench.streams import redis_process
from tests.services.postgres import PostgresServer

BEFORE = "e6abbaaa0e9a3af502b3ec848eb6cfff0eb64a93"
"""Last commit whose logs keep no keys with owners."""

PUBLISHER = HERE / "servers" / "plain_publisher.py"
COUNTS = {"memory": 2_000, "redis": 200, "postgres": 50}
"""Publishes of one turn: so few that both versions meet the same noise of the machine."""

Run = tuple[float, float]
"""CPU time of the publisher and of the log's server for a publish, in µs."""


def plain_publishes(turns: int) -> dict[str, float]:
    """Return the CPU time of a plain publish on each log in µs, and its ratio to that before."""
    with (
        earlier_tree() as earlier,
        PostgresServer() as postgres,
        run_redis() as redis_url,
    ):
        trees = (HERE.parent, earlier)
        redis_pid = redis_process(redis_url)
        figures = _compare(trees, "memory", ("-", "-"), lambda _: 0.0, turns)
        databases = (redis_url, redis_url.removesuffix("/0") + "/1")
        figures |= _compare(trees, "redis", databases, lambda _: cpu_seconds(redis_pid), turns)
        urls = [_database(postgres, name) for name in ("now", "before")]
        return figures | _compare(
            trees, "postgres", urls, lambda url: _backend_seconds(postgres, url), turns
        )


def _compare(
    trees: Sequence[Path],
    name: str,
    urls: Sequence[str],
    server_seconds: Callable[[str], float],
    turns: int,
) -> dict[str, float]:
    """Publish with the code of both trees in turn, and return the medians."""
    count = COUNTS[name]

    def publish(publisher: Any, url: str) -> Run:
        start = server_seconds(url)
        publisher.stdin.write(f"{count}\n")
        cost = float(publisher.stdout.readline())
        return cost, 1e6 * (server_seconds(url) - start) / count

    with ExitStack() as exits:
        publishers = [
            exits.enter_context(_publisher(tree, name, url))
            for tree, url in zip(trees, urls, strict=True)
        ]
        pairs = [
            tuple(publish(*each) for each in zip(publishers, urls, strict=True))
            for _ in range(turns)
        ]
    return _summary(name, pairs)


@contextmanager
def _publisher(tree: Path, name: str, url: str) -> Iterator[Any]:
    """Start a publisher with the code of a tree."""
    env = os.environ | {"PYTHONPATH": f"{tree}:{tree / 'backends'}"}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, str(PUBLISHER), name, url]
    process = start_on_core(LOAD_CORE, command, env=env, **pipes)
    try:
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the publisher of {tree} did not start")
        yield process
    finally:
        process.kill()
        process.wait()


def _summary(name: str, pairs: Sequence[tuple[Run, ...]]) -> dict[str, float]:
    rows = {}
    for part, title in enumerate(("publisher", "server")):
        if pairs[0][0][part]:
            rows[f"{name}, {title}, µs"] = median(now[part] for now, _ in pairs)
            ratio = median(now[part] / before[part] for now, before in pairs)
            rows[f"{name}, {title}, over before"] = ratio
    return rows


@contextmanager
def earlier_tree() -> Iterator[Path]:
    """Export the code of `BEFORE`."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "archive", BEFORE, "realtime_bridge", "backends"]
        archive = subprocess.run(command, cwd=HERE.parent, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield Path(folder)


def _database(postgres: PostgresServer, name: str) -> str:
    """Return the URL of a database without a schema, which the publisher installs."""
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.url(name)


def _backend_seconds(postgres: PostgresServer, url: str) -> float:
    """Return the CPU time of PostgreSQL's processes for the connections to a database."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = %s"
    with postgres.connect() as connection:
        rows = connection.execute(query, [url.rpartition("/")[2]]).fetchall()
    return sum(cpu_seconds(pid) for (pid,) in rows)
