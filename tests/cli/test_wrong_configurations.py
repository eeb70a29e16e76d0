"""Wrong configurations: one sentence and one thing to do, without a traceback or a secret."""

import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import psycopg
import pytest

from tests.cli.processes import SECRET, complaint, run
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

PASSWORD = "hunter2"
WATCH = "postgres watch jobs --channel user-{user_id}"


class Case(NamedTuple):
    """Command with variables; the servers' ports are filled in."""

    command: str
    variables: Mapping[str, str]
    fact: str
    hint: str


def redis(url: str, command: str = "publish user-ada x", **more: str) -> tuple[str, dict[str, str]]:
    return command, {"REALTIME_BACKEND": "redis", "REDIS_URL": url, **more}


def postgres(url: str, command: str = "publish user-ada x") -> tuple[str, dict[str, str]]:
    return command, {"REALTIME_BACKEND": "postgres", "DATABASE_URL": url}


def pusher(**values: str) -> tuple[str, dict[str, str]]:
    names = {"APP_ID": "1", "KEY": "k", "SECRET": PASSWORD}
    chosen = {f"PUSHER_{name}": value for name, value in {**names, **values}.items()}
    log = {"REALTIME_BACKEND": "pusher", "REALTIME_LOG": "none"}
    return "publish user-ada x", log | {name: value for name, value in chosen.items() if value}


CASES = (
    # Another kind of server
    Case(
        *redis("redis+cluster://127.0.0.1:{redis}"),
        "is a single server and no Cluster",
        "write redis://HOST:PORT in REDIS_URL",
    ),
    Case(
        *redis("redis+cluster://127.0.0.1:{redis}", "doctor"),
        "is a single server and no Cluster",
        "→ Write redis://HOST:PORT in REDIS_URL",
    ),
    Case(
        *redis("redis+sentinel://127.0.0.1:{redis}/log", "doctor"),
        "is no Sentinel",
        "→ Name the sentinels in REDIS_URL",
    ),
    Case(
        *redis("redis+sentinel://127.0.0.1:9/log", "doctor"),
        "redis: Redis at redis+sentinel://127.0.0.1:9/log",
        "→ Check that the sentinels run, and that REDIS_URL has them and the service",
    ),
    Case(
        *redis("rediss://:hunter2@127.0.0.1:{redis}/0", "doctor"),
        "rediss://127.0.0.1:{redis}/0 failed",
        "→ Check that it runs, and has TLS at this port: without TLS write redis://",
    ),
    Case(
        *redis("redis://:hunter2@127.0.0.1:{postgres}/0"),
        "redis://127.0.0.1:{postgres}/0 failed",
        "check that it",
    ),
    Case(
        *postgres("postgresql://ada:hunter2@127.0.0.1:{redis}/app"),
        "PostgreSQL at 127.0.0.1:{redis}/app",
        "Check that it runs, and that DATABASE_URL has its address",
    ),
    Case(
        *postgres("mysql+pymysql://ada:hunter2@db/app"),
        "DATABASE_URL is not an address of PostgreSQL",
        "write postgresql://USER:PASSWORD@HOST/DATABASE",
    ),
    # Addresses
    Case(
        *redis("redis://:hunter2#x@127.0.0.1:{redis}/0"),
        "REDIS_URL is malformed",
        "write special characters of the password as codes",
    ),
    Case(
        *redis("redis://127.0.0.1:{redis}/0?password=hunter2&protocol=3"),
        "REDIS_URL has the option 'protocol', which is not supported",
        "leave it out",
    ),
    Case(
        *redis("redis://127.0.0.1:{redis}/99"),
        "has no database of this number",
        "write a lower number in REDIS_URL",
    ),
    Case(
        *redis("redis://:hunter2@127.0.0.1:{redis}/0"),
        "without any password configured",
        "check the user and password in REDIS_URL",
    ),
    Case(
        *postgres("postgresql://ada:a/hunter2@127.0.0.1/app"),
        "DATABASE_URL is malformed",
        "with codes for special characters of the password",
    ),
    Case(
        *postgres("postgresql://ada:hunter2@127.0.0.1/app?ssl=require"),
        "DATABASE_URL has the option 'ssl' of another driver",
        "write sslmode",
    ),
    Case(
        "publish user-ada x",
        {"REALTIME_WEBSOCKET_URL": "http://ada:a/hunter2@127.0.0.1/realtime"},
        "REALTIME_WEBSOCKET_URL: write special characters of a password as codes",
        "for example REALTIME_WEBSOCKET_URL=http://127.0.0.1:8000/realtime",
    ),
    # Rights and states of a database
    Case(
        *postgres("postgresql://grace:hunter2@127.0.0.1:{postgres}/app"),
        'role "grace" does not exist',
        "Check user and password in DATABASE_URL",
    ),
    Case(
        *postgres("postgresql://postgres@127.0.0.1:{postgres}/missing", "postgres status"),
        'database "missing" does not exist',
        "Check that it runs, and that DATABASE_URL has its address",
    ),
    Case(
        *postgres("postgresql://ada@127.0.0.1:{postgres}/app", "doctor"),
        "permission denied for schema realtime",
        "→ Grant this user the schema, its tables and functions",
    ),
    Case(
        *postgres("postgresql://postgres@127.0.0.1:{postgres}/postgres", "doctor"),
        'relation "realtime.settings" does not exist',
        "→ Run `realtime-bridge postgres install`",
    ),
    Case(
        *postgres("postgresql://postgres@127.0.0.1:{postgres}/latin", "postgres install"),
        "The database has the encoding LATIN1",
        "create it with ENCODING 'UTF8'",
    ),
    Case(
        *postgres("postgresql://ada@127.0.0.1:{postgres}/app", WATCH),
        "The table 'jobs' belongs to the role postgres",
        "watch it as that role",
    ),
    Case(
        *postgres("postgresql://postgres@127.0.0.1:{postgres}/app", "postgres unwatch jobs"),
        "The table jobs is not watched",
        "no table is watched",
    ),
    Case(
        "relay",
        {"REALTIME_BACKEND": "redis"},
        "REALTIME_POSTGRES_URL is not set",
        "write postgresql://USER:PASSWORD@HOST/DATABASE",
    ),
    Case(
        *postgres("postgresql://postgres@127.0.0.1:{postgres}/app", "relay"),
        "No relay is needed",
        "Use it with REALTIME_BACKEND=redis, pusher or ably",
    ),
    # Keys, names and combinations
    Case(*pusher(SECRET=""), "REALTIME_PUSHER_SECRET: it is not set", "for example REALTIME_"),
    Case(*pusher(APP_ID=PASSWORD), "PUSHER_APP_ID is no number", "copy it from the dashboard"),
    Case(*pusher(PORT="web"), "PUSHER_PORT: write a whole number", "PUSHER_PORT=443"),
    Case(
        "publish user-ada x",
        {"REALTIME_BACKEND": "ably", "REALTIME_LOG": "none", "ABLY_API_KEY": PASSWORD},
        "ABLY_API_KEY: copy the whole key",
        "ABLY_API_KEY=APPID.KEYID:SECRET",
    ),
    Case(
        *redis("redis://127.0.0.1:{redis}/0", "doctor", REALTIME_LOG="pusher"),
        "REALTIME_LOG='pusher': PusherBackend is not a log",
        "Use auto, none",
    ),
    Case(
        *redis("redis://127.0.0.1:{redis}/0", "doctor", REALTIME_FAILOVER="redis"),
        "REALTIME_FAILOVER names a backend twice",
        "Name each once",
    ),
    Case(
        "serve --port 0",
        {"REALTIME_BACKEND": "memory", "REALTIME_SECRET": PASSWORD},
        "REALTIME_SECRET: 7 bytes are too short",
        "use at least 32",
    ),
)

Results = list[Future[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Run a single Redis, and a PostgreSQL with a log that the role `ada` may not use."""
    folder = tmp_path_factory.mktemp("servers")
    with (
        RedisServer(folder / "redis", "--save", "") as redis_server,
        PostgresServer() as postgres_server,
    ):
        log = postgres_server.database()
        with postgres_server.connect() as connection:
            connection.execute("CREATE ROLE ada LOGIN")
            connection.execute(f"ALTER DATABASE {log.rpartition('/')[2]} RENAME TO app")
            connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
        with psycopg.connect(postgres_server.url("app"), autocommit=True) as database:
            database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int)")
        yield {"redis": redis_server.port, "postgres": postgres_server.port}


@pytest.fixture(scope="module")
def results(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """Run all cases, two at a time; each test waits for its own."""
    folder = tmp_path_factory.mktemp("wrong")
    with ThreadPoolExecutor(2) as pool:
        yield [
            pool.submit(
                run,
                *case.command.split(),
                folder=folder,
                variables={
                    "REALTIME_SECRET": SECRET,
                    **{name: fill(value, ports) for name, value in case.variables.items()},
                },
            )
            for case in CASES
        ]


def fill(text: str, ports: dict[str, int]) -> str:
    for name, port in ports.items():
        text = text.replace(f"{{{name}}}", str(port))
    return text


@pytest.mark.parametrize(
    ("number", "case"), [*enumerate(CASES)], ids=[case.fact[:50] for case in CASES]
)
def test_mistake_is_one_sentence_with_one_thing_to_do(
    results: Results, ports: dict[str, int], number: int, case: Case
) -> None:
    result = results[number].result()
    text = complaint(result, status=1)
    assert fill(case.fact, ports) in text
    assert case.hint in text
    assert PASSWORD not in result.stderr + result.stdout
    problems = [
        line
        for line in result.stderr.splitlines()
        if line.startswith(("error:", " failed")) or "Error" in line
    ]
    assert len(problems) == 1, result.stderr
