"""`publish`, `listen`, `token` and the rest: what they print, and how they fail."""

import json
import socket
from pathlib import Path

import pytest

from realtime_bridge.settings import DEVELOPMENT_SECRET
from tests.cli.processes import SECRET, ServeProcess, command, complaint, run

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


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("user-ada", "job.progress", "{percent: 30}"), 2, ("JSON", '{"percent": 30}')),
        (("user ada", "job.progress"), 1, ("'user ada'",)),
        (("user-ada", "x" * 65), 1, ("1 to 64 printable characters",)),
        (("user-ada",), 2, ("Missing argument",)),
    ],
)
def test_a_bad_event_is_refused(
    there: dict[str, str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    status: int,
    said: tuple[str, ...],
) -> None:
    done = run("publish", *arguments, folder=tmp_path, variables=there)
    complained = complaint(done, status=status)
    for part in said:
        assert part in complained


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


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"REALTIME_BACKEND": "websockets"}, "Did you mean 'websocket'?"),
        ({"REALTIME_WEBSOCKET_URL": "nonsense"}, "REALTIME_WEBSOCKET_URL"),
        ({"REALTIME_WEBSOCKET_URL": "https://example.com"}, "REALTIME_SECRET is not set"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    done = run("publish", "user-ada", "x", folder=tmp_path, variables=variables)
    assert said in complaint(done, status=1)


def test_the_null_backend_publishes_nowhere(tmp_path: Path) -> None:
    done = run("publish", "job.1", "x", folder=tmp_path, variables={"REALTIME_BACKEND": "null"})
    assert (done.returncode, done.stderr) == (0, "published: x on job.1 at no position\n")


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--user", "ada", "--since", "yesterday"), 2, "EPOCH:OFFSET"),
        ((), 2, "--user USER, or --token TOKEN"),
        (("--token", "forged", "--url", "nonsense"), 1, "address like"),
        (("--user", "ada", "--url", "https://example.com"), 1, "REALTIME_SECRET is not set"),
        (("--token", "forged"), 1, "token"),
    ],
)
def test_a_listener_that_cannot_listen_says_why(
    development: ServeProcess, tmp_path: Path, options: tuple[str, ...], status: int, said: str
) -> None:
    arguments = ("listen", "user-ada", "--url", development.url, *options)
    assert said in complaint(run(*arguments, folder=tmp_path), status=status)


def test_a_listener_with_another_secret_ends(there: dict[str, str], tmp_path: Path) -> None:
    arguments = ("listen", "user-ada", "--user", "ada", "--transport", "websocket")
    variables = {**there, "REALTIME_SECRET": ANOTHER}
    done = run(*arguments, folder=tmp_path, variables=variables)
    assert "REALTIME_SECRET" in complaint(done, status=1)
    assert ANOTHER not in done.stderr


def test_a_listener_without_a_server_says_so_and_goes_on(nowhere: str, tmp_path: Path) -> None:
    arguments = ("listen", "user-ada", "--user", "ada", "--url", nowhere)
    with command(*arguments, "--transport", "poll", folder=tmp_path) as listening:
        listening.line("polling failed")
        listening.line("polling failed")


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


@pytest.mark.parametrize("name", ["serve", "publish", "listen", "token", "demo"])
def test_every_command_has_help(tmp_path: Path, name: str) -> None:
    done = run(name, "--help", folder=tmp_path)
    assert done.returncode == 0
    assert "Usage: realtime-bridge" in " ".join(done.stdout.split())


def test_the_command_alone_lists_all_and_says_its_version(tmp_path: Path) -> None:
    listed = run("--help", folder=tmp_path)
    assert listed.returncode == 0
    for name in ("serve", "publish", "listen", "token", "demo"):
        assert f" {name} " in listed.stdout
    assert run("--version", folder=tmp_path).stdout.startswith("realtime-bridge 0.")


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
