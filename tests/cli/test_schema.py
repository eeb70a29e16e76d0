"""`realtime-bridge postgres`: the schema is made, looked at and removed, as often as one likes."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.cli.processes import SECRET, complaint, run
from tests.services.postgres import PostgresServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres"), "fsync=off") as server:
        yield server


def test_it_is_made_once_and_brought_up_to_date_after_that(
    server: PostgresServer, tmp_path: Path
) -> None:
    there = {
        "REALTIME_BACKEND": "postgres",
        "REALTIME_POSTGRES_URL": server.url(),
        "REALTIME_SECRET": SECRET,
    }
    asked = run("postgres", "status", folder=tmp_path, variables=there)
    assert "realtime-bridge postgres install" in complaint(asked, status=1)
    assert "postgres install" in complaint(
        run("doctor", folder=tmp_path, variables=there), status=1
    )
    for said in ("installed: schema realtime", "brought up to date"):
        done = run("postgres", "install", folder=tmp_path, variables=there)
        assert (done.returncode, said in done.stderr) == (0, True), done.stderr
    published = run("publish", "user-ada", "job.step", "1", folder=tmp_path, variables=there)
    assert published.returncode == 0, published.stderr
    state = run("postgres", "status", "--json", folder=tmp_path, variables=there)
    assert orjson.loads(state.stdout) == {"version": 1, "channels": 1, "events": 1}
    healthy = run("doctor", folder=tmp_path, variables=there)
    assert healthy.returncode == 0, healthy.stderr
    assert "published and received" in healthy.stderr
    for said in ("removed: schema realtime", "there was no schema realtime"):
        done = run("postgres", "uninstall", "--yes", folder=tmp_path, variables=there)
        assert said in done.stderr


def test_the_sql_can_be_read_before(tmp_path: Path) -> None:
    shown = run("postgres", "install", "--dry-run", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert 'CREATE TABLE "realtime".channels' in shown.stdout


def test_without_an_address_it_says_what_to_set(tmp_path: Path) -> None:
    done = run("postgres", "install", folder=tmp_path)
    assert "REALTIME_POSTGRES_URL is not set" in complaint(done, status=1)


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = "postgresql://ada:hunter2@127.0.0.1:9/app"
    said = complaint(run("postgres", "status", "--url", url, folder=tmp_path), status=1)
    assert "127.0.0.1:9/app" in said
    assert "hunter2" not in said
