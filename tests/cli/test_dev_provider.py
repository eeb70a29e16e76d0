"""A developer without an account runs the provider, the server and a worker in three shells."""

import json
from pathlib import Path

from tests.cli.processes import SECRET, Process, ServeProcess, command, complaint, run


def exported(process: Process) -> dict[str, str]:
    """Return what the command says to export."""
    process.line("a local pusher runs")
    assert process._process.stdout
    lines = [process._process.stdout.readline().removeprefix("export ").strip() for _ in range(7)]
    return dict(line.split("=", 1) for line in lines)


def test_the_provider_the_server_and_a_worker_find_each_other(tmp_path: Path) -> None:
    with command("dev-provider", "pusher", "--port", "0", folder=tmp_path) as provider:
        variables = exported(provider) | {"REALTIME_LOG": "memory", "REALTIME_SECRET": SECRET}
        with ServeProcess(folder=tmp_path, variables=variables) as server:
            there = variables | {"REALTIME_WEBSOCKET_URL": server.url}
            done = run(
                "publish", "--json", "user-42", "job.step", "1", folder=tmp_path, variables=there
            )
            receipt = json.loads(done.stdout)
            assert (receipt["position"]["offset"], receipt["pushed"]) == (1, True)
        done = run(
            "doctor", "--json", folder=tmp_path, variables=variables | {"REALTIME_LOG": "none"}
        )
        assert done.returncode == 0, done.stderr
        assert "pusher" in {result["check"] for result in json.loads(done.stdout)}


def test_a_provider_that_is_not_here_is_named(tmp_path: Path) -> None:
    done = run("dev-provider", "pigeon", folder=tmp_path)
    assert "There is no 'pigeon' here, only ably, pusher" in complaint(done, status=1)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with command("dev-provider", "pusher", "--port", "0", folder=tmp_path) as provider:
        port = exported(provider)["REALTIME_PUSHER_PORT"]
        done = run("dev-provider", "pusher", "--port", port, folder=tmp_path)
        assert f"Port {port} cannot be used" in complaint(done, status=1)
