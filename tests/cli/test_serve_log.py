"""Command `serve`: the log that it chooses, and what it prints about it."""

import json
import os
import signal
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.processes import SECRET, ServeProcess, complaint, run

REAL = {"REALTIME_SECRET": SECRET}
FOLDER = ".realtime"


def log_of(server: ServeProcess) -> str:
    """Return what the server prints about its log."""
    return server.errors[-1].partition(", log ")[2]


def health(server: ServeProcess) -> str:
    """Return the log's name in `GET health`."""
    with urlopen(f"{server.url}/health", timeout=30) as answer:
        return str(json.load(answer)["log"])


def publish(server: ServeProcess, folder: Path, variables: Mapping[str, str] = REAL) -> None:
    health(server)  # it is answered by the first worker that has started
    calling = {**variables, "REALTIME_WEBSOCKET_URL": server.url}
    result = run("publish", "job.1", "job.step", "1", folder=folder, variables=calling)
    assert result.returncode == 0, result.stderr


def test_file_in_the_working_directory_is_the_default(tmp_path: Path) -> None:
    with ServeProcess(folder=tmp_path, variables=REAL) as server:
        assert log_of(server) == ".realtime/log.db"
        assert health(server) == "the sqlite log"
        publish(server, tmp_path)
        with urlopen(f"{server.url}/metrics", timeout=30) as answer:
            metrics = answer.read().decode()
    for name in ("wal_bytes", "busy_seconds_total", "commits_total", "group_size_count"):
        assert f"realtime_sqlite_{name}" in metrics
    folder = tmp_path / FOLDER
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    assert stat.S_IMODE((folder / "log.db").stat().st_mode) == 0o600


def test_chosen_log_in_memory_makes_no_file(tmp_path: Path) -> None:
    with ServeProcess(folder=tmp_path, variables=REAL | {"REALTIME_LOG": "memory"}) as server:
        assert log_of(server) == "memory"
    assert list(tmp_path.iterdir()) == []


def test_development_server_keeps_its_log_in_memory(tmp_path: Path) -> None:
    with ServeProcess("--dev", folder=tmp_path) as server:
        assert log_of(server).startswith("memory (development: ")
    assert list(tmp_path.iterdir()) == []


def test_development_server_with_processes_has_a_file_until_its_end(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    variables = {"TMPDIR": str(temporary)}
    with ServeProcess("--dev", "--workers", "2", folder=tmp_path, variables=variables) as server:
        (folder,) = temporary.glob("realtime-*")
        assert log_of(server).startswith(f"temporary/{folder.name}/log.db (development")
        publish(server, tmp_path, {})
        server.send(signal.SIGTERM)
        server.finish()
    assert list(temporary.glob("realtime-*")) == []
    assert list(tmp_path.iterdir()) == [temporary]


def test_folder_that_cannot_be_made_gives_a_log_in_memory_with_the_reason(tmp_path: Path) -> None:
    # A file has the name of the folder: root cannot make it either.
    (tmp_path / FOLDER).touch()
    with ServeProcess(folder=tmp_path, variables=REAL) as server:
        assert log_of(server) == "memory"
        assert health(server) == "the memory log"
        (reason,) = [line for line in server.errors if line.startswith("log in memory")]
        assert str(tmp_path / FOLDER) in reason
    options = ("serve", "--port", "0", "--workers", "2", "--log-format", "json")
    result = run(*options, folder=tmp_path, variables=REAL)
    assert "--workers 2 needs a shared log" in complaint(result, status=1)
    line = json.loads(result.stderr.splitlines()[0])
    assert line["level"] == "warning"
    assert line["message"].startswith("log in memory")


def test_folder_of_another_user_gives_a_log_in_memory(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    if os.geteuid():
        foreign = Path("/usr")
    else:
        foreign.mkdir()
        os.chown(foreign, 1, 1)
    (tmp_path / FOLDER).symlink_to(foreign)
    with ServeProcess(folder=tmp_path, variables=REAL) as server:
        assert log_of(server) == "memory"
        assert any("is another user's" in line for line in server.errors)
    assert not (foreign / ".gitignore").exists()


def test_directory_that_everyone_can_write_gives_a_log_in_memory(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER).chmod(0o777)
    with ServeProcess(folder=tmp_path, variables=REAL) as server:
        assert log_of(server) == "memory"
        assert any("writable by everyone" in line for line in server.errors)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_chosen_file_that_is_refused_is_one_sentence(tmp_path: Path, workers: str) -> None:
    missing = tmp_path / "missing"
    chosen = {"REALTIME_SQLITE_PATH": str(missing / "log.db")}
    options = ("serve", "--port", "0", "--workers", workers)
    result = run(*options, folder=tmp_path, variables=REAL | chosen)
    assert complaint(result, status=1).startswith(f"error: {missing} is not a directory")
    assert len(result.stderr.splitlines()) == 1


def test_chosen_file_of_another_program_is_one_sentence(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("no database " * 100)
    chosen = {"REALTIME_SQLITE_PATH": str(other)}
    result = run("serve", "--port", "0", folder=tmp_path, variables=REAL | chosen)
    assert "file is not a database" in complaint(result, status=1)
    assert len(result.stderr.splitlines()) == 1
