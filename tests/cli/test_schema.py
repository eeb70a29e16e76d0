"""Command `realtime-bridge postgres`: schema installation, status and removal, repeatable."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest

from tests.cli.processes import SECRET, complaint, run
from tests.services.postgres import PostgresServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def test_schema_is_installed_upgraded_and_removed(server: PostgresServer, tmp_path: Path) -> None:
    variables = {
        "REALTIME_BACKEND": "postgres",
        "REALTIME_POSTGRES_URL": server.url(),
        "REALTIME_SECRET": SECRET,
    }
    missing = run("postgres", "status", folder=tmp_path, variables=variables)
    assert "realtime-bridge postgres install" in complaint(missing, status=1)
    assert "postgres install" in complaint(
        run("doctor", folder=tmp_path, variables=variables), status=1
    )
    for message in ("installed: schema realtime", "upgraded from version 4"):
        result = run("postgres", "install", folder=tmp_path, variables=variables)
        assert (result.returncode, message in result.stderr) == (0, True), result.stderr
    published = run("publish", "user-ada", "job.step", "1", folder=tmp_path, variables=variables)
    assert published.returncode == 0, published.stderr
    state = run("postgres", "status", "--json", folder=tmp_path, variables=variables)
    assert orjson.loads(state.stdout) == {"version": 4, "channels": 1, "events": 1}
    healthy = run("doctor", folder=tmp_path, variables=variables)
    assert healthy.returncode == 0, healthy.stderr
    assert "published and received" in healthy.stderr
    for message in ("removed: schema realtime", "not found: schema realtime"):
        result = run("postgres", "uninstall", "--yes", folder=tmp_path, variables=variables)
        assert message in result.stderr


def test_watch_without_its_table_is_reported_by_doctor(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = server.database()
    variables = {
        "REALTIME_BACKEND": "postgres",
        "REALTIME_POSTGRES_URL": url,
        "REALTIME_SECRET": SECRET,
    }
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE TABLE jobs (id int PRIMARY KEY, user_id int)")
        arguments = ("postgres", "watch", "jobs", "--channel", "user-{user_id}")
        watched = run(*arguments, folder=tmp_path, variables=variables)
        assert watched.returncode == 0, watched.stderr
        database.execute("DROP TABLE jobs")
    doctor = run("doctor", folder=tmp_path, variables=variables)
    assert doctor.returncode == 0, doctor.stderr
    assert 'watches: "public"."jobs": the table was dropped' in doctor.stderr
    assert '→ Run `realtime-bridge postgres unwatch "public"."jobs"`' in doctor.stderr
    unwatch = ("postgres", "unwatch", "jobs")
    assert run(*unwatch, folder=tmp_path, variables=variables).returncode == 0
    message = complaint(run(*unwatch, folder=tmp_path, variables=variables), status=1)
    assert "no table 'jobs'" in message


def test_dry_run_prints_the_sql(tmp_path: Path) -> None:
    result = run("postgres", "install", "--dry-run", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'CREATE TABLE "realtime".channels' in result.stdout


def test_missing_url_is_reported(tmp_path: Path) -> None:
    result = run("postgres", "install", folder=tmp_path)
    assert "REALTIME_POSTGRES_URL is not set" in complaint(result, status=1)


def test_unreachable_server_is_named_without_password(tmp_path: Path) -> None:
    url = "postgresql://ada:hunter2@127.0.0.1:9/app"
    message = complaint(run("postgres", "status", "--url", url, folder=tmp_path), status=1)
    assert "127.0.0.1:9/app" in message
    assert "hunter2" not in message
