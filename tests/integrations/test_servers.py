"""ASGI and WSGI servers that run the bridge: an event arrives from end to end."""

import json
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar

from realtime_bridge import Event
from realtime_bridge.client import HybridClient
from realtime_bridge.protocol.client.commands import Options
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import SECRET, Process
from tests.services.programs import free_port

ROOT = Path(__file__).parent.parent.parent
MODULE = "tests.integrations.server_app"
VARIABLES = {"REALTIME_BACKEND": "memory", "REALTIME_SECRET": SECRET, "PYTHONWARNINGS": "ignore"}
ASGI, WSGI = f"{MODULE}:asgi_application", f"{MODULE}:flask_application"
WORKER = "realtime_bridge.integrations.gunicorn.Worker"
GUNICORN = ("gunicorn", "--no-control-socket")
SERVERS = {
    "uvicorn": ("uvicorn", "--port", "{port}", ASGI),
    "daphne": ("daphne", "-b", "127.0.0.1", "-p", "{port}", ASGI),
    "hypercorn": ("hypercorn", "-b", "127.0.0.1:{port}", ASGI),
    "granian": ("granian", "--interface", "asgi", "--port", "{port}", ASGI),
    "gunicorn with our worker": (
        "gunicorn",
        "--no-control-socket",
        "-b",
        "127.0.0.1:{port}",
        "-k",
        WORKER,
        ASGI,
    ),
    "gunicorn with Flask": (
        *GUNICORN,
        *("-b", "127.0.0.1:{port}", "-k", WORKER),
        f"{MODULE}:flask_and_bridge",
    ),
    "gunicorn sync": ("gunicorn", "--no-control-socket", "-b", "127.0.0.1:{port}", WSGI),
}


def start(name: str, port: int, *options: str, **variables: str) -> Process:
    command = [part.format(port=port) for part in SERVERS[name]]
    return Process(
        sys.executable, "-m", *command, *options, folder=ROOT, variables=VARIABLES | variables
    )


def wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "uvicorn"])
async def test_event_arrives_through_the_server(name: str) -> None:
    port, is_asgi = free_port(), name != "gunicorn sync"
    origin = f"http://127.0.0.1:{port}"
    token = Tokens(SECRET, issuer="realtime").issue("ann")
    with start(name, port) as process:
        wait_until_it_listens(port)
        client = HybridClient(
            f"{origin}/realtime",
            ["user-ann"],
            token=token,
            transport="websocket" if is_asgi else "poll",
            options=Options(polling_interval=500),
        )
        async with ClientSession() as http, client:
            await client.wait_subscribed()
            async with http.post(f"{origin}/publish/ann") as answer:
                assert answer.status == 200
            event = await anext(aiter(client))
            assert isinstance(event, Event)
            assert (event.event, event.data) == ("order.paid", 1)
            assert client.status.kind == ("realtime" if is_asgi else "polling")
        process.send(signal.SIGTERM)
        process.finish()
        assert not [line for line in process.errors if "Traceback" in line]


async def test_page_of_flask_reads_a_stream_of_the_same_process() -> None:
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    with start("gunicorn with Flask", port):
        wait_until_it_listens(port)
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as http:
            stream = f"{origin}/realtime/sse?channel=user-ann&snapshot=1"
            async with http.get(stream) as answer:
                assert answer.status == 401
            await http.post(f"{origin}/sign-in/ann")
            async with http.get(stream) as answer:
                assert answer.status == 200
                await answer.content.readuntil(b"\nid: ")
                await http.post(f"{origin}/publish/ann")
                await answer.content.readuntil(b"event: order.paid\n")


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_uvicorn_with_an_open_stream(presses: int) -> None:
    port = free_port()
    bearer = f"Bearer {Tokens(SECRET, issuer='realtime').issue('ann')}"
    headers = {"content-type": "application/json", "authorization": bearer}
    with start("uvicorn", port, REALTIME_GRACE_SECONDS="60") as process:
        wait_until_it_listens(port)
        stream = HTTPConnection("127.0.0.1", port, timeout=30)
        stream.request("POST", "/realtime/sse", '{"positions": {"user-ann": null}}', headers)
        lines = iter(stream.getresponse().readline, b"")
        assert any(b"subscribed" in line for line in lines)
        for _ in range(presses):
            process.send(signal.SIGINT)
        process.finish()
        assert presses == 2 or any(b"drain" in line for line in lines)
        stream.close()
        assert not [line for line in process.errors if "Traceback" in line or "rror" in line]


def ask(port: int) -> tuple[int, str]:
    """Send a poll without a token, and return the status and the message of the error."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/realtime/poll", b"{}", {"content-type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]["message"]
    raise AssertionError


def resources(pid: int) -> int:
    """Return the number of threads and open files of the children of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    folders = [Path("/proc", child, kind) for child in children for kind in ("task", "fd")]
    return sum(len(list(folder.iterdir())) for folder in folders)


def test_second_wsgi_worker_with_its_own_log_answers_503_with_the_reason() -> None:
    port = free_port()
    with start("gunicorn sync", port, "-w", "2") as process:
        wait_until_it_listens(port)
        answers = [ask(port)]
        # The kernel chooses the worker, and one may start late: ask until both have answered.
        deadline = time.monotonic() + 60
        while len({status for status, _ in answers}) < 2:
            assert time.monotonic() < deadline
            answers.append(ask(port))
        before = resources(process.pid)
        answers += [ask(port) for _ in range(40)]
        growth = resources(process.pid) - before
        process.send(signal.SIGTERM)
        process.finish()
    assert {status for status, _ in answers} == {401, 503}
    (reason,) = {message for status, message in answers if status == 503}
    assert "own log in memory" in reason
    assert "REALTIME_LOG" in reason
    assert growth < 10  # a request in progress opens some
    lines = [line for line in process.errors if "the bridge cannot start" in line]
    assert len(lines) == 1
