"""Command `doctor`: check results, hints and exit status."""

from pathlib import Path

import orjson

from tests.cli.processes import SECRET, ServeProcess, complaint, run


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


def test_invalid_configuration_is_a_failed_check(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "memroy"}
    result = run("doctor", "--json", folder=tmp_path, variables=variables)
    assert result.returncode == 1
    (check,) = orjson.loads(result.stdout)
    assert check["status"] == "failed"
    assert "Did you mean 'memory'?" in check["detail"]


def test_missing_log_is_reported_once(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "ably", "REALTIME_ABLY_KEY": "app.key:secret"}
    unreachable = {"REALTIME_ABLY_ENDPOINT": "127.0.0.1", "REALTIME_ABLY_PORT": "9"}
    result = run(
        "doctor", folder=tmp_path, variables={**variables, **unreachable, "REALTIME_LOG": "none"}
    )
    assert result.stderr.count("has no log: a lost event stays lost") == 1
