"""Command `doctor`: check results, hints and exit status."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from tests.cli.processes import SECRET, Process, ServeProcess, command, complaint, run

Variables = dict[str, str]


def test_working_configuration_passes(
    development: ServeProcess, server_variables: dict[str, str], tmp_path: Path
) -> None:
    result = run("doctor", folder=tmp_path, variables=server_variables)
    assert result.returncode == 0, result.stderr
    assert f"the log is the server at {development.url}" in result.stderr
    assert "server: answers, and has the same secret" in result.stderr
    assert "published" in result.stderr
    assert "openssl rand -hex 32" in result.stderr


def test_event_is_received_if_the_log_is_a_feed(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "memory", "REALTIME_SECRET": SECRET}
    result = run("doctor", "--json", folder=tmp_path, variables=variables)
    results = orjson.loads(result.stdout)
    assert (result.returncode, result.stderr) == (0, "")
    assert [check["status"] for check in results] == ["ok", "ok", "ok"]
    assert "published and received" in results[-1]["detail"]


def test_unreachable_server_is_named_with_a_hint(tmp_path: Path) -> None:
    variables = {"REALTIME_WEBSOCKET_URL": "http://127.0.0.1:9/realtime"}
    error = complaint(run("doctor", folder=tmp_path, variables=variables), status=1)
    assert "failed server: the server at http://127.0.0.1:9/realtime cannot be reached" in error
    assert "realtime-bridge serve" in error


def test_wrong_secret_is_reported_with_a_hint(
    server_variables: dict[str, str], tmp_path: Path
) -> None:
    result = run(
        "doctor", folder=tmp_path, variables={**server_variables, "REALTIME_SECRET": SECRET}
    )
    assert "Use the same REALTIME_SECRET on both machines" in complaint(result, status=1)


def test_misspelt_variable_is_a_warning(tmp_path: Path) -> None:
    variables = {"REALTIME_BAKEND": "redis", "REALTIME_BACKEND": "memory"}
    result = run("doctor", "--json", folder=tmp_path, variables=variables)
    check, *_ = orjson.loads(result.stdout)
    assert (check["check"], check["status"]) == ("REALTIME_BAKEND", "warning")
    assert "REALTIME_BACKEND" in check["hint"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "ann"),
        ("listen", "user-ann", "--user", "ann", "--url", "http://127.0.0.1:9/realtime"),
        ("mirror", "report"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_warn_about_a_misspelt_variable(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    variables = {
        "REALTIME_SECRT": SECRET,
        "REALTIME_WEBSOCKET_URL": "http://127.0.0.1:9/realtime",
    }
    with command(*arguments, folder=tmp_path, variables=variables) as process:
        assert process.line("unknown variable").endswith(
            "name=REALTIME_SECRT nearest=REALTIME_SECRET"
        )


def test_invalid_configuration_is_a_failed_check(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "memroy"}
    result = run("doctor", "--json", folder=tmp_path, variables=variables)
    assert result.returncode == 1
    (check,) = orjson.loads(result.stdout)
    assert check["status"] == "failed"
    assert "Did you mean 'memory'?" in check["detail"]


def test_missing_credentials_of_the_pusher_app_are_a_failed_check(tmp_path: Path) -> None:
    variables = {
        "REALTIME_BACKEND": "memory",
        "REALTIME_SECRET": SECRET,
        "REALTIME_PUSHER_DOOR": "on",
        "REALTIME_PUSHER_APP_ID": "1",
    }
    error = complaint(run("doctor", folder=tmp_path, variables=variables), status=1)
    assert "REALTIME_PUSHER_KEY: it is not set" in error


def test_missing_log_is_reported_once(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "ably", "REALTIME_ABLY_KEY": "app.key:secret"}
    unreachable = {"REALTIME_ABLY_ENDPOINT": "127.0.0.1", "REALTIME_ABLY_PORT": "9"}
    result = run(
        "doctor", folder=tmp_path, variables={**variables, **unreachable, "REALTIME_LOG": "none"}
    )
    assert result.stderr.count("has no log: a lost event stays lost") == 1


def provider_variables(process: Process) -> dict[str, str]:
    """Return the variables that `dev-provider` prints, with a log in memory."""
    process.line("a local ")
    variables = {"REALTIME_LOG": "none", "REALTIME_SECRET": SECRET}
    while not any(name.endswith("_TLS") for name in variables):
        name, _, value = process.output_line().removeprefix("export ").partition("=")
        variables[name] = value
    return variables


@pytest.mark.parametrize("name", ["ably", "pusher"])
@pytest.mark.parametrize("log", ["none", "memory"])
def test_event_goes_by_the_provider(tmp_path: Path, name: str, log: str) -> None:
    with command("dev-provider", name, "--port", "0", folder=tmp_path) as provider:
        variables = provider_variables(provider)
        with serving_for_workers(tmp_path, variables, log) as more:
            result = run("doctor", "--json", folder=tmp_path, variables=variables | more)
    results = orjson.loads(result.stdout)
    assert result.returncode == 0, result.stdout
    assert name in {check["check"] for check in results}
    if log == "none":
        assert f"received by {name.title()}" in results[-1]["detail"]


@contextmanager
def serving_for_workers(folder: Path, variables: dict[str, str], log: str) -> Iterator[Variables]:
    """Run a server, if only it reaches the log."""
    if log == "none":
        yield {}
        return
    with ServeProcess(folder=folder, variables=variables | {"REALTIME_LOG": log}) as server:
        yield {"REALTIME_LOG": log, "REALTIME_WEBSOCKET_URL": server.url}


@pytest.mark.parametrize("name", ["ably", "pusher"])
@pytest.mark.parametrize(
    "faults",
    [["--lose", "1"], ["--fault", "html"], ["--fault", "error-in-body", "--max-name", "5"]],
)
def test_provider_that_delivers_nothing_fails(tmp_path: Path, name: str, faults: list[str]) -> None:
    with command("dev-provider", name, "--port", "0", *faults, folder=tmp_path) as provider:
        variables = provider_variables(provider)
        result = run("doctor", "--json", folder=tmp_path, variables=variables)
    assert "Traceback" not in result.stderr
    assert result.returncode == 1, result.stdout


def test_file_is_checked_and_compared_with_that_of_the_server(tmp_path: Path) -> None:
    with ServeProcess(folder=tmp_path, variables={"REALTIME_SECRET": SECRET}) as server:
        variables = {"REALTIME_SECRET": SECRET, "REALTIME_WEBSOCKET_URL": server.url}
        results = {}
        for path in (tmp_path / ".realtime" / "log.db", tmp_path / "other.db"):
            more = {"REALTIME_SQLITE_PATH": str(path)}
            result = run("doctor", "--json", folder=tmp_path, variables=variables | more)
            assert result.returncode == 0, result.stdout
            results[path.name] = {each["check"]: each for each in orjson.loads(result.stdout)}
    same, other = results["log.db"], results["other.db"]
    assert {"sqlite file system", "sqlite write lock", "sqlite bells"} <= same.keys()
    assert str(server.pid) in same["sqlite open in"]["detail"]
    assert "published and received" in same["publish"]["detail"]
    assert same["same log as the server"]["status"] == "ok"
    assert other["same log as the server"]["status"] == "warning"
    assert "same REALTIME_SQLITE_PATH" in other["same log as the server"]["hint"]


def test_failover_target_of_the_server_is_checked(tmp_path: Path) -> None:
    with ServeProcess(folder=tmp_path, variables={"REALTIME_SECRET": SECRET}) as server:
        variables = {"REALTIME_SECRET": SECRET, "REALTIME_WEBSOCKET_URL": server.url}
        failover = {"REALTIME_FAILOVER": "ably"}
        error = complaint(run("doctor", folder=tmp_path, variables=variables | failover), status=1)
        assert "REALTIME_ABLY_KEY: it is not set" in error
        unreachable = {
            "REALTIME_ABLY_KEY": "app.key:secret",
            "REALTIME_ABLY_ENDPOINT": "127.0.0.1",
            "REALTIME_ABLY_PORT": "9",
        }
        result = run("doctor", folder=tmp_path, variables=variables | failover | unreachable)
        assert "failed ably: Ably at 127.0.0.1:9 cannot be reached" in complaint(result, status=1)


def test_origins_are_shown_as_browsers_send_them(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "memory", "REALTIME_SECRET": SECRET}
    listed = {"REALTIME_ORIGINS": "HTTPS://App.Example/, https://*.example.com"}
    result = run("doctor", folder=tmp_path, variables=variables | listed)
    assert result.returncode == 0
    assert "https://app.example, https://*.example.com" in " ".join(result.stderr.split())
    wrong = {"REALTIME_ORIGINS": "app.example"}
    error = complaint(run("doctor", folder=tmp_path, variables=variables | wrong), status=1)
    assert "an origin begins with https://" in error


def test_development_mode_with_a_secret_fails(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "memory", "REALTIME_SECRET": SECRET, "REALTIME_DEV": "on"}
    error = complaint(run("doctor", folder=tmp_path, variables=variables), status=1)
    assert "Remove one of the two" in error
