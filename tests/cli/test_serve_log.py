"""Command `serve`: the log that it chooses, and what it prints about it."""

import json
import signal
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.processes import COMMAND, SECRET, Process, ServeProcess, complaint, run

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


@pytest.mark.parametrize(
    "variables",
    [{"REALTIME_LOG": "memory"}, {"REALTIME_BACKEND": "memory"}],
    ids=["log", "backend"],
)
def test_chosen_log_in_memory_makes_no_file(tmp_path: Path, variables: dict[str, str]) -> None:
    with ServeProcess(folder=tmp_path, variables=REAL | variables) as server:
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


def test_configured_path_is_used(tmp_path: Path) -> None:
    path = tmp_path / "data" / "log.db"
    path.parent.mkdir()
    with ServeProcess(
        folder=tmp_path, variables=REAL | {"REALTIME_SQLITE_PATH": str(path)}
    ) as server:
        assert log_of(server) == "data/log.db"
        publish(server, tmp_path)
    assert path.exists()
    assert not (tmp_path / FOLDER).exists()


def test_several_processes_serve_one_file(tmp_path: Path) -> None:
    with ServeProcess("--workers", "2", folder=tmp_path, variables=REAL) as server:
        assert log_of(server) == ".realtime/log.db"
        publish(server, tmp_path)
        server.send(signal.SIGTERM)
        assert server.finish()[0] == 0


class TestWithoutAUsableDirectory:
    """The name of the folder is that of a file: no user can make the folder, root neither."""

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        (tmp_path / FOLDER).touch()

    def test_log_is_in_memory_and_one_line_gives_the_reason(self, tmp_path: Path) -> None:
        with ServeProcess(folder=tmp_path, variables=REAL) as server:
            assert log_of(server) == "memory"
            assert health(server) == "the memory log"
            (reason,) = [line for line in server.errors if line.startswith("log in memory")]
            assert str(tmp_path / FOLDER) in reason

    def test_json_line_has_the_reason(self, tmp_path: Path) -> None:
        arguments = ("serve", "--port", "0", "--log-format", "json")
        with Process(COMMAND, *arguments, folder=tmp_path, variables=REAL) as server:
            line = json.loads(server.line('{"time":'))
        assert line["level"] == "warning"
        assert line["message"].startswith("log in memory")

    def test_several_processes_are_refused(self, tmp_path: Path) -> None:
        result = run("serve", "--port", "0", "--workers", "2", folder=tmp_path, variables=REAL)
        error = complaint(result, status=1)
        assert "log in memory" in error
        assert "--workers 2 needs a shared log" in error


def test_directory_that_everyone_can_write_gives_a_log_in_memory(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER).chmod(0o777)
    with ServeProcess(folder=tmp_path, variables=REAL) as server:
        assert log_of(server) == "memory"
        assert any("writable by everyone" in line for line in server.errors)


@pytest.mark.parametrize("name", ["REALTIME_LOG", "REALTIME_BACKEND"])
def test_chosen_file_without_a_path_names_the_variable(tmp_path: Path, name: str) -> None:
    result = run("serve", "--port", "0", folder=tmp_path, variables=REAL | {name: "sqlite"})
    assert "REALTIME_SQLITE_PATH is not set" in complaint(result, status=1)


def test_relative_path_names_the_variable(tmp_path: Path) -> None:
    variables = REAL | {"REALTIME_SQLITE_PATH": "log.db"}
    result = run("serve", "--port", "0", folder=tmp_path, variables=variables)
    assert "REALTIME_SQLITE_PATH" in complaint(result, status=1)
