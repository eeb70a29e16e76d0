"""Command `listen` through Ably, configured by the environment alone."""

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
        exported: dict[str, str] = {"REALTIME_SECRET": SECRET}
        while "REALTIME_ABLY_TLS" not in exported:
            name, _, value = provider.output_line().removeprefix("export ").partition("=")
            exported[name] = value
        yield exported


def received_events(process: Process) -> list[dict[str, object]]:
    status, output = process.finish()
    start = next(n for n, line in enumerate(process.errors) if line.startswith("listening"))
    assert (status, [line for line in process.errors[start + 1 :] if line]) == (0, [])
    return [json.loads(line) for line in output.splitlines()]


def publish(folder: Path, variables: dict[str, str]) -> None:
    for step in (1, 2, 3):
        result = run(
            "publish", "user-42", "job.step", str(step), folder=folder, variables=variables
        )
        assert result.returncode == 0, result.stderr


def test_events_of_another_process_are_printed(tmp_path: Path, variables: dict[str, str]) -> None:
    variables["REALTIME_LOG"] = "memory"
    with ServeProcess(folder=tmp_path, variables=variables) as server:
        listener_variables = variables | {"REALTIME_WEBSOCKET_URL": server.url}
        with command(*LISTEN, folder=tmp_path, variables=listener_variables) as listener:
            listener.line("listening user-42 ")
            publish(tmp_path, listener_variables)
            assert [event["offset"] for event in received_events(listener)] == [1, 2, 3]


def test_events_alone_are_printed_without_a_log(tmp_path: Path, variables: dict[str, str]) -> None:
    variables["REALTIME_LOG"] = "none"
    with ServeProcess(folder=tmp_path, variables=variables) as server:
        listener_variables = variables | {"REALTIME_WEBSOCKET_URL": server.url}
        with command(*LISTEN, folder=tmp_path, variables=listener_variables) as listener:
            assert listener.line("listening") == "listening user-42 00000000:0"
            publish(tmp_path, listener_variables)
            # Nothing was printed before, so nothing is missing: no reset.
            assert [event["data"] for event in received_events(listener)] == [1, 2, 3]
