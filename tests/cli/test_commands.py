"""`publish`, `listen`, `token` and the rest: what they print, and how they fail."""

import json
import socket
from pathlib import Path

import pytest

from realtime_bridge.settings import DEVELOPMENT_SECRET
from tests.cli.processes import SECRET, ServeProcess, command, complaint, run, run_all

ANOTHER = "another secret for tests, of more than 32 bytes"
WITHOUT_TYPER = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "typer":
            raise ModuleNotFoundError("No module named 'typer'", name="typer")


sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def nowhere() -> str:
    """Return the address of a server that does not run."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/realtime"


def test_publish_prints_its_receipt(there: dict[str, str], tmp_path: Path) -> None:
    arguments = ("publish", "user-ada", "job.done", "[1]", "--id", "one", "--key", "job-1")
    done = run(*arguments, "--json", folder=tmp_path, variables=there)
    receipt = json.loads(done.stdout)
    assert (receipt["id"], receipt["duplicate"], receipt["pushed"]) == ("one", False, True)
    assert receipt["position"]["offset"] == 1
    again = run(*arguments, folder=tmp_path, variables=there)
    assert again.stdout == ""
    assert again.stderr.startswith("published before: job.done on user-ada at ")


def test_publish_without_a_server_says_how_to_start_one(nowhere: str, tmp_path: Path) -> None:
    variables = {"REALTIME_WEBSOCKET_URL": nowhere}
    complained = complaint(
        run("publish", "user-ada", "x", folder=tmp_path, variables=variables), status=1
    )
    assert nowhere in complained
    assert "realtime-bridge serve" in complained


def test_publish_with_another_secret_is_refused(there: dict[str, str], tmp_path: Path) -> None:
    variables = {**there, "REALTIME_SECRET": ANOTHER}
    complained = complaint(
        run("publish", "user-ada", "x", folder=tmp_path, variables=variables), status=1
    )
    assert "same secret" in complained
    assert ANOTHER not in complained
    assert DEVELOPMENT_SECRET not in complained


def test_the_null_backend_publishes_nowhere(tmp_path: Path) -> None:
    done = run("publish", "job.1", "x", folder=tmp_path, variables={"REALTIME_BACKEND": "null"})
    assert (done.returncode, done.stderr) == (0, "published: x on job.1 at no position\n")


def test_a_listener_with_another_secret_ends(there: dict[str, str], tmp_path: Path) -> None:
    arguments = ("listen", "user-ada", "--user", "ada", "--transport", "websocket")
    variables = {**there, "REALTIME_SECRET": ANOTHER}
    done = run(*arguments, folder=tmp_path, variables=variables)
    assert "REALTIME_SECRET" in complaint(done, status=1)
    assert ANOTHER not in done.stderr


def test_a_listener_without_a_server_says_so_and_goes_on(nowhere: str, tmp_path: Path) -> None:
    arguments = ("listen", "user-ada", "--user", "ada", "--url", nowhere)
    with command(*arguments, folder=tmp_path) as listening:
        said = listening.line("connecting")
        assert nowhere in said
        assert "realtime-bridge serve" in said


def test_a_token_is_good_for_the_channels_it_names(
    there: dict[str, str], development: ServeProcess, tmp_path: Path
) -> None:
    done = run("token", "ada", "--channel", "job.*", folder=tmp_path, variables=there)
    assert (done.returncode, done.stderr) == (0, "")
    access = ("--token", done.stdout.strip(), "--url", development.url)
    with command("listen", "job.7", *access, folder=tmp_path) as listening:
        listening.line("listening job.7 ")
    refused = run("listen", "task.7", *access, folder=tmp_path)
    assert "ada may not listen to task.7" in complaint(refused, status=1)


def test_a_token_for_elsewhere_needs_a_secret(tmp_path: Path) -> None:
    elsewhere = {"REALTIME_WEBSOCKET_URL": "https://example.com/realtime"}
    done = run("token", "ada", folder=tmp_path, variables=elsewhere)
    assert "REALTIME_SECRET is not set" in complaint(done, status=1)
    signed = run(
        "token", "ada", folder=tmp_path, variables={**elsewhere, "REALTIME_SECRET": SECRET}
    )
    assert signed.stdout.count(".") == 2


def test_every_command_has_help_and_the_command_alone_lists_all(tmp_path: Path) -> None:
    names = ("serve", "publish", "listen", "token", "demo")
    arguments = [*((name, "--help") for name in names), ("--help",), ("--version",)]
    *helped, listed, version = run_all([(one, {}) for one in arguments], tmp_path)
    for name, done in zip(names, helped, strict=True):
        assert done.returncode == 0
        assert f"Usage: realtime-bridge {name}" in " ".join(done.stdout.split())
        assert f" {name} " in listed.stdout
    assert (listed.returncode, version.returncode) == (0, 0)
    assert version.stdout.startswith("realtime-bridge 0.")


def test_without_typer_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TYPER)
    done = run("serve", "--dev", folder=tmp_path, variables={"PYTHONPATH": str(tmp_path)})
    assert "pip install 'realtime-bridge[server]'" in complaint(done, status=1)


def test_a_cure_in_brackets_is_printed_whole(tmp_path: Path) -> None:
    folder = tmp_path / "broken-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: broken\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(
        "[realtime_bridge.backends]\nbroken = no_such_module:Backend\n"
    )
    variables = {"PYTHONPATH": str(tmp_path), "REALTIME_BACKEND": "broken"}
    done = run("publish", "job.1", "x", folder=tmp_path, variables=variables)
    assert "pip install 'realtime-bridge[broken]'" in complaint(done, status=1)
