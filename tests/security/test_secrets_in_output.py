"""Secrets in output: no error, log line, check result or command has one, however it breaks."""

import asyncio
import logging
import socketserver
import threading
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from realtime_bridge import BlockingBroadcaster, RealtimeError
from realtime_bridge.cli.app import app
from realtime_bridge.cli.checks import run_checks

MARKER = "Zq7MarkerSecret"
SECRET = f"{MARKER} of more than thirty-two bytes"

# As a person may write a password: some forms work, others end a part of the address too early.
PASSWORDS = (
    MARKER,
    f"a#{MARKER}",
    f"a/{MARKER}",
    f"1234/{MARKER}",
    f"a?{MARKER}",
    f"a[{MARKER}",
    f"a@{MARKER}",
    f"a:{MARKER}",
    f"%{MARKER}",
    f"a {MARKER}",
)
DEAD = "127.0.0.1:9"

Variables = dict[str, str]


class _Server(socketserver.ThreadingTCPServer):
    """Server that answers every message with an error that quotes it."""

    daemon_threads = True
    allow_reuse_address = True


class _Quote(socketserver.BaseRequestHandler):
    beginnings: ClassVar[Mapping[bytes, bytes]] = {
        b"*": b"-ERR unknown command, with args beginning with: ",
        b"G": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"P": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    }

    def handle(self) -> None:
        while received := self.request.recv(65_536):
            text = received.replace(b"\r\n", b" ").replace(b"\0", b" ")
            beginning = self.beginnings.get(received[:1], b"E")
            self.request.sendall(beginning + text + b"\r\n")
            if not received.startswith(b"*"):
                return


@pytest.fixture(scope="module")
def quoting() -> Iterator[str]:
    """Return host and port of a server that quotes what it receives in its errors."""
    with _Server(("127.0.0.1", 0), _Quote) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def redis(url: str) -> Variables:
    return {"REALTIME_BACKEND": "redis", "REDIS_URL": url}


def postgres(url: str) -> Variables:
    return {"REALTIME_BACKEND": "postgres", "DATABASE_URL": url}


def websocket(url: str) -> Variables:
    return {"REALTIME_BACKEND": "websocket", "REALTIME_WEBSOCKET_URL": url}


def pusher(**values: str) -> Variables:
    names = {"APP_ID": "1", "KEY": f"k{MARKER}", "SECRET": MARKER, "HOST": "127.0.0.1"}
    server = {"PORT": "9", "TLS": "false"}
    chosen = {f"PUSHER_{name}": value for name, value in {**names, **server, **values}.items()}
    return {"REALTIME_BACKEND": "pusher", "REALTIME_LOG": "none", **chosen}


def ably(key: str, **values: str) -> Variables:
    names = {"ENDPOINT": "127.0.0.1", "PORT": "9", "TLS": "false", **values}
    chosen = {f"REALTIME_ABLY_{name}": value for name, value in names.items()}
    return {"REALTIME_BACKEND": "ably", "REALTIME_LOG": "none", "ABLY_API_KEY": key, **chosen}


CASES: list[Variables] = [
    *(redis(f"redis://ada:{password}@{DEAD}/0") for password in PASSWORDS),
    *(postgres(f"postgresql://ada:{password}@{DEAD}/app") for password in PASSWORDS),
    *(websocket(f"http://ada:{password}@{DEAD}/realtime") for password in PASSWORDS),
    redis(f"redis://:{MARKER}"),
    redis(f"redis://db:{MARKER}/0"),
    redis(f"{MARKER}@db"),
    redis(f"http://:{MARKER}@db"),
    redis(f"redis://db/0?password={MARKER}&protocol=3"),
    redis(f"redis://db/{MARKER}"),
    redis(f"rediss://:{MARKER}@{DEAD}/0?ssl_ca_certs=/nowhere"),
    redis(f"redis+cluster://:{MARKER}@{DEAD}"),
    redis(f"redis+sentinel://:{MARKER}@{DEAD}/log?sentinel_password={MARKER}"),
    redis(f"redis://:{MARKER}@QUOTING/0"),
    redis(f"redis+cluster://:{MARKER}@QUOTING"),
    redis(f"redis+sentinel://:{MARKER}@QUOTING/log?sentinel_password={MARKER}"),
    postgres(f"postgresql+asyncpg://ada:{MARKER}@{DEAD}/app"),
    postgres(f"mysql://ada:{MARKER}@{DEAD}/app"),
    postgres(f"mysql+pymysql://ada:a/{MARKER}@{DEAD}/app"),
    postgres(f"host=127.0.0.1 port=9 password={MARKER}"),
    postgres(f"host=127.0.0.1 port=9 password='{MARKER}"),
    postgres(f"host=127.0.0.1 {MARKER}"),
    postgres(MARKER),
    postgres(f"postgresql://ada:{MARKER}@h1:9,h2:{MARKER}/app"),
    postgres(f"postgresql://ada:{MARKER}@{DEAD}/app?ssl=require"),
    postgres(f"postgresql://{DEAD}/app?password={MARKER}&nonsense={MARKER}"),
    postgres(f"postgresql://ada:{MARKER}@QUOTING/app"),
    websocket(f"ftp://ada:{MARKER}@{DEAD}"),
    websocket(f"http://ada:{MARKER}@{DEAD}/realtime?token={MARKER}"),
    websocket(f"http://ada:{MARKER}@127.0.0.1:port/realtime"),
    websocket(f"http://ada:{MARKER}@QUOTING/realtime"),
    pusher(),
    pusher(HOST=MARKER, PORT="x"),
    pusher(APP_ID=MARKER),
    pusher(KEY=f"{MARKER}\n", SECRET=f"{MARKER}\n"),
    pusher(KEY="ü", SECRET=f"{MARKER}ü"),
    pusher(HOST="nowhere.invalid"),
    pusher(PORT="QUOTING"),
    ably(f"app.key:{MARKER}"),
    ably(f"app.key:{MARKER} "),
    ably(MARKER),
    ably(f"app:{MARKER}"),
    ably(f"app.key:{MARKER}", PORT="x"),
    ably(f"app.key:{MARKER}", ENDPOINT="nowhere.invalid"),
    ably(f"app.key:{MARKER}", PORT="QUOTING"),
    {"REALTIME_BACKEND": "memory", "REALTIME_SECRET": MARKER},
    {"REALTIME_BACKEND": "memory", "REALTIME_SECRET": f"{SECRET},{MARKER}"},
    {"REALTIME_BACKEND": "websocket", "REALTIME_WEBSOCKET_URL": "http://QUOTING/realtime"},
]


@pytest.fixture
def variables(
    request: pytest.FixtureRequest, quoting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Variables:
    """Return the environment of a case, and set it."""
    import os

    for name in list(os.environ):
        if name.startswith(("REALTIME_", "PUSHER_", "ABLY_", "REDIS_URL", "DATABASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    port = quoting.rpartition(":")[2]
    case = {
        name: port if value == "QUOTING" else value.replace("QUOTING", quoting)
        for name, value in {"REALTIME_SECRET": SECRET, **request.param}.items()
    }
    for name, value in case.items():
        monkeypatch.setenv(name, value)
    return case


def error_text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize("variables", CASES, indirect=True, ids=range(len(CASES)))
def test_no_output_has_a_secret(
    variables: Variables, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="realtime_bridge")
    outputs: list[str] = []
    try:
        with BlockingBroadcaster.from_env(check=True) as broadcaster:
            outputs.append(repr(broadcaster))
            broadcaster.publish("user-ada", "job.step")
    except RealtimeError as error:
        outputs.append(error_text(error))
    outputs.append(repr(asyncio.run(_doctor())))
    if variables["REALTIME_BACKEND"] == "postgres":
        for command in ("postgres status", "postgres watches", "relay --discard-pending"):
            result = CliRunner().invoke(app, command.split())
            assert result.exit_code != 0
            assert not result.exception or isinstance(result.exception, SystemExit)
            outputs.append(result.output)
    outputs += [caplog.text, *capsys.readouterr()]
    assert len("".join(outputs)) > 100
    assert MARKER not in "\n".join(outputs)


async def _doctor() -> list[object]:
    return [result async for result in run_checks()]
