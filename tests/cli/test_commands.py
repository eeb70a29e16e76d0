"""Output and errors of the commands `publish`, `listen`, `token` and others."""

import json
import socket
from pathlib import Path

import jwt
import pytest

from realtime_bridge.settings import DEVELOPMENT_SECRET
from tests.cli.processes import SECRET, ServeProcess, command, complaint, run, run_all

ANOTHER = "another secret for tests of more than 32 bytes"
WITHOUT_TYPER = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "typer":
            raise ModuleNotFoundError("No module named 'typer'", name="typer")


sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def unused_url() -> str:
    """Return the URL of a server that does not run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/realtime"


def test_publish_prints_its_receipt(server_variables: dict[str, str], tmp_path: Path) -> None:
    arguments = ("publish", "user-ada", "job.done", "[1]", "--id", "one", "--key", "job-1")
    result = run(*arguments, "--json", folder=tmp_path, variables=server_variables)
    receipt = json.loads(result.stdout)
    assert (receipt["id"], receipt["duplicate"], receipt["pushed"]) == ("one", False, True)
    assert receipt["position"]["offset"] == 1
    second_result = run(*arguments, folder=tmp_path, variables=server_variables)
    assert second_result.stdout == ""
    assert second_result.stderr.startswith("published before: job.done on user-ada at ")


def test_publish_without_a_server_names_the_serve_command(unused_url: str, tmp_path: Path) -> None:
    variables = {"REALTIME_WEBSOCKET_URL": unused_url}
    error = complaint(
        run("publish", "user-ada", "x", folder=tmp_path, variables=variables), status=1
    )
    assert unused_url in error
    assert "realtime-bridge serve" in error


def test_publish_with_another_secret_fails(
    server_variables: dict[str, str], tmp_path: Path
) -> None:
    variables = {**server_variables, "REALTIME_SECRET": ANOTHER}
    error = complaint(
        run("publish", "user-ada", "x", folder=tmp_path, variables=variables), status=1
    )
    assert "same secret" in error
    assert ANOTHER not in error
    assert DEVELOPMENT_SECRET not in error


def test_null_backend_publishes_at_no_position(tmp_path: Path) -> None:
    result = run("publish", "job.1", "x", folder=tmp_path, variables={"REALTIME_BACKEND": "null"})
    assert (result.returncode, result.stderr) == (0, "published: x on job.1 at no position\n")


def test_listen_with_another_secret_exits_with_error(
    server_variables: dict[str, str], tmp_path: Path
) -> None:
    arguments = ("listen", "user-ada", "--user", "ada", "--transport", "websocket")
    variables = {**server_variables, "REALTIME_SECRET": ANOTHER}
    result = run(*arguments, folder=tmp_path, variables=variables)
    assert "REALTIME_SECRET" in complaint(result, status=1)
    assert ANOTHER not in result.stderr


def test_listen_without_a_server_warns_and_retries(unused_url: str, tmp_path: Path) -> None:
    arguments = ("listen", "user-ada", "--user", "ada", "--url", unused_url)
    with command(*arguments, folder=tmp_path) as listener:
        line = listener.line("connecting")
        assert unused_url in line
        assert "realtime-bridge serve" in line


def test_token_grants_only_the_channels_it_names(
    server_variables: dict[str, str], development: ServeProcess, tmp_path: Path
) -> None:
    grants = ("--channel", "job.*", "--control", "job.7")
    result = run("token", "ada", *grants, folder=tmp_path, variables=server_variables)
    assert (result.returncode, result.stderr) == (0, "")
    claims = jwt.decode(result.stdout.strip(), options={"verify_signature": False})
    assert (claims["channels"], claims["controls"]) == (["job.*"], ["job.7"])
    access = ("--token", result.stdout.strip(), "--url", development.url)
    with command("listen", "job.7", *access, folder=tmp_path) as listener:
        listener.line("listening job.7 ")
    result = run("listen", "task.7", *access, folder=tmp_path)
    assert "ada may not listen to task.7" in complaint(result, status=1)


def test_token_for_a_remote_server_needs_a_secret(tmp_path: Path) -> None:
    remote = {"REALTIME_WEBSOCKET_URL": "https://example.com/realtime"}
    result = run("token", "ada", folder=tmp_path, variables=remote)
    assert "REALTIME_SECRET is not set" in complaint(result, status=1)
    signed = run("token", "ada", folder=tmp_path, variables={**remote, "REALTIME_SECRET": SECRET})
    assert signed.stdout.count(".") == 2


def test_every_command_has_help_and_is_listed(tmp_path: Path) -> None:
    names = ("serve", "publish", "listen", "token", "demo")
    arguments = [*((name, "--help") for name in names), ("--help",), ("--version",)]
    *command_help, main_help, version = run_all([(options, {}) for options in arguments], tmp_path)
    for name, result in zip(names, command_help, strict=True):
        assert result.returncode == 0
        assert f"Usage: realtime-bridge {name}" in " ".join(result.stdout.split())
        assert f" {name} " in main_help.stdout
    assert (main_help.returncode, version.returncode) == (0, 0)
    assert version.stdout.startswith("realtime-bridge 0.")


def test_missing_typer_error_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TYPER)
    result = run("serve", "--dev", folder=tmp_path, variables={"PYTHONPATH": str(tmp_path)})
    assert "pip install 'realtime-bridge[server]'" in complaint(result, status=1)


def test_hint_in_brackets_is_printed_whole(tmp_path: Path) -> None:
    folder = tmp_path / "broken-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: broken\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(
        "[realtime_bridge.backends]\nbroken = no_such_module:Backend\n"
    )
    variables = {"PYTHONPATH": str(tmp_path), "REALTIME_BACKEND": "broken"}
    result = run("publish", "job.1", "x", folder=tmp_path, variables=variables)
    assert "pip install 'realtime-bridge[broken]'" in complaint(result, status=1)
