"""`realtime-bridge doctor`: what works, what does not, and what to do about it."""

from pathlib import Path

import orjson

from tests.cli.processes import SECRET, ServeProcess, complaint, run


def test_a_set_up_that_works_is_said_to_work(
    development: ServeProcess, there: dict[str, str], tmp_path: Path
) -> None:
    done = run("doctor", folder=tmp_path, variables=there)
    assert done.returncode == 0, done.stderr
    for said in (f"the log is the server at {development.url}", "knows our secret", "published"):
        assert said in done.stderr
    assert "openssl rand -hex 32" in done.stderr


def test_an_event_is_heard_where_this_process_can_hear(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "memory", "REALTIME_SECRET": SECRET}
    done = run("doctor", "--json", folder=tmp_path, variables=variables)
    findings = orjson.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert [finding["verdict"] for finding in findings] == ["ok", "ok", "ok"]
    assert "published and heard" in findings[-1]["detail"]


def test_a_server_that_is_not_there_is_named_with_the_cure(tmp_path: Path) -> None:
    variables = {"REALTIME_WEBSOCKET_URL": "http://127.0.0.1:9/realtime"}
    said = complaint(run("doctor", folder=tmp_path, variables=variables), status=1)
    assert "failed server: the server at http://127.0.0.1:9/realtime cannot be reached" in said
    assert "realtime-bridge serve" in said


def test_another_secret_than_the_servers_is_named_with_the_cure(
    there: dict[str, str], tmp_path: Path
) -> None:
    done = run("doctor", folder=tmp_path, variables={**there, "REALTIME_SECRET": SECRET})
    assert "Give both the same REALTIME_SECRET" in complaint(done, status=1)


def test_a_configuration_that_cannot_work_is_a_finding(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "memroy"}
    done = run("doctor", "--json", folder=tmp_path, variables=variables)
    assert done.returncode == 1
    (finding,) = orjson.loads(done.stdout)
    assert finding["verdict"] == "failed"
    assert "Did you mean 'memory'?" in finding["detail"]


def test_that_nothing_remembers_the_events_is_said_once(tmp_path: Path) -> None:
    variables = {"REALTIME_BACKEND": "ably", "REALTIME_ABLY_KEY": "app.key:secret"}
    nobody = {"REALTIME_ABLY_ENDPOINT": "127.0.0.1", "REALTIME_ABLY_PORT": "9"}
    done = run("doctor", folder=tmp_path, variables={**variables, **nobody, "REALTIME_LOG": "none"})
    assert done.stderr.count("has no log: a lost event stays lost") == 1
