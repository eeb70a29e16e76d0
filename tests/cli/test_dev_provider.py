"""Command `dev-provider`: local provider, server and worker in three processes."""

import json
from pathlib import Path

from tests.cli.processes import SECRET, Process, ServeProcess, command, complaint, run


def exported_variables(process: Process) -> dict[str, str]:
    """Return the variables that the command prints."""
    process.line("a local pusher runs")
    lines = [process.output_line().removeprefix("export ") for _ in range(7)]
    return dict(line.split("=", 1) for line in lines)


def test_variables_connect_provider_server_and_worker(tmp_path: Path) -> None:
    with command("dev-provider", "pusher", "--port", "0", folder=tmp_path) as provider:
        variables = exported_variables(provider) | {
            "REALTIME_LOG": "memory",
            "REALTIME_SECRET": SECRET,
        }
        with ServeProcess(folder=tmp_path, variables=variables) as server:
            worker_variables = variables | {"REALTIME_WEBSOCKET_URL": server.url}
            result = run(
                "publish",
                "--json",
                "user-42",
                "job.step",
                "1",
                folder=tmp_path,
                variables=worker_variables,
            )
            receipt = json.loads(result.stdout)
            assert (receipt["position"]["offset"], receipt["pushed"]) == (1, True)
        result = run(
            "doctor", "--json", folder=tmp_path, variables=variables | {"REALTIME_LOG": "none"}
        )
        assert result.returncode == 0, result.stderr
        assert "pusher" in {check["check"] for check in json.loads(result.stdout)}


def test_unknown_provider_is_named(tmp_path: Path) -> None:
    result = run("dev-provider", "pigeon", folder=tmp_path)
    assert "Unknown provider 'pigeon': choose one of ably, pusher" in complaint(result, status=1)


def test_occupied_port_is_named(tmp_path: Path) -> None:
    with command("dev-provider", "pusher", "--port", "0", folder=tmp_path) as provider:
        port = exported_variables(provider)["REALTIME_PUSHER_PORT"]
        result = run("dev-provider", "pusher", "--port", port, folder=tmp_path)
        assert f"Port {port} cannot be used" in complaint(result, status=1)
