"""Command `serve`: authentication, mount path, own bridges and exit."""

import json
import re
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import (
    COMMAND,
    SECRET,
    TIMEOUT,
    Process,
    ServeProcess,
    command,
    complaint,
    run,
)
from tests.services.redis import RedisServer

REAL = {"REALTIME_SECRET": SECRET}
OWN_RULES = """
from realtime_bridge.server import Bridge

bridge = Bridge.from_env()
other = "no bridge"


@bridge.channel("job.{job}")
def may_watch(user, job):
    return user == "ada" and job == "7"
"""


@contextmanager
def upgrade(port: int, target: str) -> Iterator[tuple[int, socket.socket]]:
    """Send an upgrade request, and return the status of the response and the connection."""
    request = (
        f"GET {target} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", port), TIMEOUT)) as connection:
        connection.sendall(request.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += receive_exactly(connection, 1)
        yield int(head.split()[1]), connection


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        assert chunk, "the server closed the connection"
        received += chunk
    return received


def close_code(connection: socket.socket) -> int:
    """Read up to the close frame, and return its code."""
    while True:
        opcode, length = receive_exactly(connection, 2)
        if length == 126:
            (length,) = struct.unpack("!H", receive_exactly(connection, 2))
        payload = receive_exactly(connection, length)
        if opcode & 0x0F == 8:
            return int.from_bytes(payload[:2])


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("production")
    with ServeProcess(folder=folder, variables=REAL) as server:
        yield server


def test_development_server_accepts_a_user_in_the_url(development: ServeProcess) -> None:
    with upgrade(development.port, "/realtime/ws?userId=test-user") as (status, _):
        assert status == 101


def test_production_server_rejects_a_user_in_the_url(production: ServeProcess) -> None:
    with upgrade(production.port, "/realtime/ws?userId=test-user") as (status, _):
        assert status == 401


def test_client_without_connect_message_is_closed(production: ServeProcess) -> None:
    with upgrade(production.port, "/realtime/ws") as (status, connection):
        assert status == 101
        assert close_code(connection) == 4408


def test_path_option_sets_the_mount_path(tmp_path: Path) -> None:
    with ServeProcess("--dev", "--path", "/api", folder=tmp_path) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/api"
        with upgrade(server.port, "/api/ws?userId=test-user") as (status, _):
            assert status == 101


def test_path_is_read_from_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REALTIME_PATH=/elsewhere\n")
    with ServeProcess("--dev", folder=tmp_path) as server:
        assert server.url.endswith("/elsewhere")
        with upgrade(server.port, "/elsewhere/ws?userId=test-user") as (status, _):
            assert status == 101


def test_own_bridge_applies_its_rules(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_RULES)
    with ServeProcess("own:bridge", folder=tmp_path, variables=REAL) as server:

        def listen(channel: str, user: str) -> tuple[str, ...]:
            token = Tokens(SECRET, issuer="realtime").issue(user)
            return ("listen", channel, "--token", token, "--url", server.url)

        with command(*listen("job.7", "ada"), folder=tmp_path) as listener:
            assert listener.line("listening").startswith("listening job.7 ")
        for channel, user in (("job.7", "bob"), ("task.7", "ada")):
            result = run(*listen(channel, user), folder=tmp_path)
            assert f"{user} may not listen to {channel}" in complaint(result, status=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_closes_clients_and_exits_with_zero(tmp_path: Path, number: signal.Signals) -> None:
    with ServeProcess("--dev", folder=tmp_path) as server:
        with upgrade(server.port, "/realtime/ws?userId=test-user") as (status, connection):
            assert status == 101
            server.send(number)
            assert close_code(connection) in (1012, 1001)
        assert server.finish() == (0, "")
        assert not any("Traceback" in line or "rror" in line for line in server.errors)


def test_log_lines_have_time_level_and_process(tmp_path: Path) -> None:
    with ServeProcess("--dev", folder=tmp_path) as server:
        with upgrade(server.port, "/realtime/ws?userId=test-user") as (_, connection):
            server.send(signal.SIGTERM)
            assert close_code(connection) in (1012, 1001)
        server.finish()
    (line,) = [line for line in server.errors if "draining" in line]
    head = r"\d{4}-\d\d-\d\dT[\d:.]{12}Z INFO pid=\d+ realtime_bridge.server"
    assert re.match(f"{head}: draining: clients=1", line)
    assert any("drained: clients=1" in line for line in server.errors)


def test_json_log_has_one_object_per_line_for_an_outage_and_its_end(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path, "--save", "")
    variables = REAL | {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": redis.url}
    arguments = ("serve", "--port", "0", "--log-format", "json")
    with Process(COMMAND, *arguments, folder=tmp_path, variables=variables) as server:
        lost = json.loads(server.line('{"time":'))
        assert (lost["level"], lost["pid"]) == ("warning", server.pid)
        assert "Connection refused" in lost["message"]
        while "serving http" not in (message := json.loads(server.line("{"))["message"]):
            pass
        url = message.split()[1].rstrip(",")
        token = Tokens(SECRET, issuer="realtime").issue("ann")
        listen = ("listen", "user-ann", "--token", token, "--url", url)
        with command(*listen, folder=tmp_path) as listener:
            assert "its log or backend is down" in listener.line("delayed")
        with redis:
            while "runs again" not in json.loads(server.line("{"))["message"]:
                pass
            server.send(signal.SIGTERM)
            assert server.finish()[0] == 0
    lines = [json.loads(line) for line in server.errors if line]
    assert len({line["message"] for line in lines}) == len(lines)  # no line is repeated


def test_application_in_place_of_a_bridge_gets_its_command(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def app(scope, receive, send): ...\n")
    error = complaint(run("serve", "shop:app", folder=tmp_path, variables=REAL), status=1)
    assert "uvicorn shop:app --ws realtime_bridge.server.connections.fast:WebSocket" in error
    assert "shop:bridge" in error


def test_occupied_port_is_named(development: ServeProcess, tmp_path: Path) -> None:
    result = run("serve", "--dev", "--port", str(development.port), folder=tmp_path)
    error = complaint(result, status=1)
    assert f"Port {development.port} of 127.0.0.1 cannot be used" in error
    assert "--port" in error
