"""Trace over a worker, Redis, a server, and clients in Python and TypeScript."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest

from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import COMMAND, SECRET, Process, ServeProcess, environment
from tests.services.redis import RedisServer

HERE = Path(__file__).parent
CLIENT_JS = HERE.parents[1] / "clients" / "js"
NODE = str(Path(COMMAND).with_name("node"))
Span = dict[str, Any]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the client of the page as one file."""
    bundle = tmp_path_factory.mktemp("page") / "client.mjs"
    esbuild = CLIENT_JS / "node_modules" / "esbuild" / "bin" / "esbuild"
    options = ("--bundle", "--format=esm", "--platform=browser", "--log-level=error")
    command = [str(esbuild), str(HERE / "client.ts"), *options, f"--outfile={bundle}"]
    modules = {"NODE_PATH": str(CLIENT_JS / "node_modules")}
    subprocess.run(command, check=True, env=environment(modules))
    return bundle


def spans_of(file: Path) -> dict[str, Span]:
    """Return the spans of the Python processes by their names."""
    return {span["name"]: span for span in map(json.loads, file.read_text().splitlines())}


def publish_and_handle(folder: Path, page: Path) -> Span:
    """Publish from a worker to a client in Python and a page; return the span of the page."""
    with ExitStack() as programs:
        redis = programs.enter_context(RedisServer(folder / "redis", "--save", ""))
        variables = {
            "REALTIME_BACKEND": "redis",
            "REALTIME_REDIS_URL": redis.url,
            "REALTIME_SECRET": SECRET,
            "PYTHONPATH": f"{HERE.parents[1]}:{HERE / 'site'}",
            "SPANS": str(folder / "spans"),
        }

        def start(*command: str) -> Process:
            process = Process(*command, folder=folder, variables=variables)
            return programs.enter_context(process)

        server = programs.enter_context(ServeProcess(folder=folder, variables=variables))
        arguments = (server.url, Tokens(SECRET, issuer="realtime").issue("ada"))
        python = start(sys.executable, str(HERE / "client.py"), *arguments)
        node = start(NODE, str(page), *arguments)
        for client in (python, node):
            client.line("subscribed")
        worker = start(sys.executable, str(HERE / "worker.py"))
        for process in (worker, python):
            assert process.finish()[0] == 0, process.errors
        status, output = node.finish()
        assert status == 0, node.errors
        # Its span ends after the clients have the event: a kill could come first.
        server.send(SIGTERM)
        assert server.finish()[0] == 0, server.errors
        viewed: Span = json.loads(output)
        return viewed


def test_trace_joins_worker_server_and_clients(tmp_path: Path, page: Path) -> None:
    viewed = publish_and_handle(tmp_path, page)
    spans = spans_of(tmp_path / "spans")
    publish = spans["publish realtime_bridge"]
    fan_out, handled = spans["fan_out realtime_bridge"], spans["process realtime_bridge"]
    made, shown = spans["make report"], spans["show report"]
    id_of_publish = publish["context"]["span_id"]
    assert publish["parent_id"] == made["context"]["span_id"]
    assert fan_out["parent_id"] == handled["parent_id"] == id_of_publish
    assert [link["context"]["span_id"] for link in handled["links"]] == [id_of_publish]
    assert shown["parent_id"] == handled["context"]["span_id"]
    assert fan_out["attributes"]["realtime_bridge.subscribers"] == 2
    traces = {span["context"]["trace_id"] for span in (made, publish, fan_out, handled, shown)}
    assert traces == {f"0x{viewed['trace']}"}
    assert (viewed["name"], viewed["links"]) == ("process report.ready", [viewed["parent"]])
    assert f"0x{viewed['parent']}" == id_of_publish
