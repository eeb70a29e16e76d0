"""With Ably in between, a server, a listener and a publisher need no more than the environment."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import SECRET, Process, ServeProcess, command, run

LISTEN = ("listen", "user-42", "--user", "42", "--count", "3")


@pytest.fixture
def variables(tmp_path: Path) -> Iterator[dict[str, str]]:
    with command("dev-provider", "ably", "--port", "0", folder=tmp_path) as provider:
        provider.line("a local ably runs")
        assert provider._process.stdout
        found: dict[str, str] = {"REALTIME_SECRET": SECRET}
        while "REALTIME_ABLY_TLS" not in found:
            line = provider._process.stdout.readline().strip().removeprefix("export ")
            name, _, value = line.partition("=")
            found[name] = value
        yield found


def heard(process: Process) -> list[dict[str, object]]:
    status, output = process.finish()
    began = next(n for n, line in enumerate(process.errors) if line.startswith("listening"))
    assert (status, [line for line in process.errors[began + 1 :] if line]) == (0, [])
    return [json.loads(line) for line in output.splitlines()]


def publish(folder: Path, variables: dict[str, str]) -> None:
    for step in (1, 2, 3):
        done = run("publish", "user-42", "job.step", str(step), folder=folder, variables=variables)
        assert done.returncode == 0, done.stderr


def test_a_listener_prints_what_another_shell_publishes(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    variables["REALTIME_LOG"] = "memory"
    with ServeProcess(folder=tmp_path, variables=variables) as server:
        there = variables | {"REALTIME_WEBSOCKET_URL": server.url}
        with command(*LISTEN, folder=tmp_path, variables=there) as listening:
            listening.line("listening user-42 ")
            publish(tmp_path, there)
            assert [event["offset"] for event in heard(listening)] == [1, 2, 3]


def test_without_a_log_it_prints_a_reset_first(tmp_path: Path, variables: dict[str, str]) -> None:
    variables["REALTIME_LOG"] = "none"
    with ServeProcess(folder=tmp_path, variables=variables) as server:
        there = variables | {"REALTIME_WEBSOCKET_URL": server.url}
        with command(*LISTEN, folder=tmp_path, variables=there) as listening:
            assert listening.line("listening") == "listening user-42 00000000:0"
            publish(tmp_path, there)
            reset, *events = heard(listening)
    assert reset == {"type": "reset", "channel": "user-42", "reason": "signal"}
    assert [event["data"] for event in events] == [1, 2, 3]
