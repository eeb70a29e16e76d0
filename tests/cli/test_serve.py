"""Command `serve`: authentication, mount path, own bridges and exit."""

import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import SECRET, TIMEOUT, ServeProcess, command, complaint, run

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


def test_occupied_port_is_named(development: ServeProcess, tmp_path: Path) -> None:
    result = run("serve", "--dev", "--port", str(development.port), folder=tmp_path)
    error = complaint(result, status=1)
    assert f"Port {development.port} of 127.0.0.1 cannot be used" in error
    assert "--port" in error
