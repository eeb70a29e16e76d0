"""Tests of requests that are answered at once, past uvicorn's parser and its task."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from realtime_bridge.model.event import Event
from realtime_bridge.server import Bridge
from realtime_bridge.server.connections.fast.http import HTTP
from realtime_bridge.server.connections.fast.http_limits import HTTPLimits
from realtime_bridge.server.connections.fast.plain_request import read_post
from tests.security.requests import Answer, ask, get, port_of, post, read_answer
from tests.server.harness import FAST, TIMEOUT, Application, context_of, make_settings, running

BODY = b'{"positions":{"job.7":null}}'
FIELDS = ("Host: app.example", "Content-Type: application/json", f"Content-Length: {len(BODY)}")


def whole(*fields: str, first: str = "POST /realtime/poll HTTP/1.1", body: bytes = BODY) -> bytes:
    return "\r\n".join((first, *fields, "", "")).encode("latin-1") + body


def test_request_of_a_browser_is_read() -> None:
    plain = read_post(
        whole(*FIELDS, "Authorization:Bearer a.b.c ", "Connection: Keep-Alive", "N: ä")
    )
    assert plain
    assert (plain.path, plain.body) == ("/realtime/poll", BODY)
    assert plain.request.headers["authorization"] == "Bearer a.b.c"
    assert plain.request.headers["n"] == "ä"
    assert plain.request.json_of(plain.body) == {"positions": {"job.7": None}}


@pytest.mark.parametrize(
    "data",
    [
        whole(*FIELDS, first="GET /realtime/poll HTTP/1.1"),
        whole(*FIELDS, first="POST /realtime/poll HTTP/1.0"),
        whole(*FIELDS, first="POST /realtime/poll?userId=42 HTTP/1.1"),
        whole(*FIELDS, first="POST /realtime/%70oll HTTP/1.1"),
        whole(*FIELDS, first="POST http://app.example/realtime/poll HTTP/1.1"),
        whole(*FIELDS)[:-1],
        whole(*FIELDS) + b"\n",
        whole(*FIELDS) + whole(*FIELDS),
        whole(*FIELDS[:2]),
        whole(*FIELDS[:2], "Content-Length: +28"),
        whole(*FIELDS[:2], "Content-Length: 028"),
        whole(*FIELDS, f"Content-Length: {len(BODY)}"),
        whole(*FIELDS, "Transfer-Encoding: chunked"),
        whole(*FIELDS, "Expect: 100-continue"),
        whole(*FIELDS, "Connection: close"),
        whole(*FIELDS, "Upgrade: h2c"),
        whole(*FIELDS, "Content-Encoding: gzip"),
        whole(*FIELDS, "Host: other.example"),
        whole(*FIELDS, "Name : value"),
        whole(*FIELDS, "Name: first\r\n second"),
        whole(*FIELDS, "Name: a\x00b"),
        whole(*FIELDS, "Name: a\nExpect: other"),
        whole(*FIELDS, "Cookie: " + "a" * 16_384),
    ],
)
def test_any_other_request_is_left_to_uvicorn(data: bytes) -> None:
    assert read_post(data) is None


class CountingBridge(Bridge):
    """Bridge that counts the requests which reach it as an ASGI application."""

    requests = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests += scope["type"] == "http"
        await super().__call__(scope, receive, send)


@pytest.fixture
def bridge() -> CountingBridge:
    return CountingBridge(make_settings())


@pytest.fixture
async def origin(bridge: CountingBridge) -> AsyncIterator[str]:
    async with running(bridge, shell=FAST) as origin:
        yield origin


def poll(bridge: Bridge, *headers: str, channel: str = "job.7", body: bytes = BODY) -> bytes:
    token = bridge.issue_token("42", channels=[channel])
    return post("/realtime/poll", body, f"authorization: Bearer {token}", *headers)


def wire_of(answer: Answer) -> tuple[object, ...]:
    """Return what both ways of an answer have to have in common, with the order of headers."""
    headers = [(name, text) for name, text in answer.headers.items() if name != "date"]
    return answer.status, headers, answer.body


async def test_answer_has_the_same_bytes_at_once_and_by_uvicorn(
    bridge: CountingBridge, origin: str
) -> None:
    await bridge.publish_many(
        [Event(channel="job.7", event="job.step", data={"n": number}) for number in range(10)]
    )
    first = await ask(origin, poll(bridge))
    epoch = first.body.partition(b'"epoch":"')[2][:8].decode()
    for after in ("null", f'{{"epoch":"{epoch}","offset":0}}', '{"epoch":"zzzzzzzz","offset":3}'):
        request = poll(bridge, body=f'{{"positions":{{"job.7":{after}}}}}'.encode())
        count = bridge.requests
        at_once = await ask(origin, request)
        assert bridge.requests == count
        by_uvicorn = await ask(origin, request.replace(b"host:", b"a: b\r\na: b\r\nhost:", 1))
        assert bridge.requests == count + 1
        assert wire_of(at_once) == wire_of(by_uvicorn)
        assert at_once.status == 200
    assert context_of(bridge).connections.statistics.polls == 7


@pytest.mark.parametrize(
    ("status", "channel", "body"),
    [
        (200, "job.8", BODY),
        (200, "job.7", b'{"positions":{"job.7":null},"wait":0.01}'),
        (200, "job.7", b'{"positions":{"job.7":7}}'),
        (400, "job.7", b'{"positions":7}'),
        (400, "job.7", b"nonsense"),
    ],
)
async def test_unusual_poll_is_answered_by_the_application(
    bridge: CountingBridge, origin: str, status: int, channel: str, body: bytes
) -> None:
    assert (await ask(origin, poll(bridge, channel=channel, body=body))).status == status
    assert bridge.requests == 1


async def test_application_around_the_bridge_sees_every_poll(bridge: CountingBridge) -> None:
    seen: list[str] = []

    async def around(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        await bridge(scope, receive, send)

    async with running(around, shell=FAST) as origin:
        assert (await ask(origin, poll(bridge))).status == 200
    assert "http" in seen


async def test_page_of_a_listed_origin_can_read_the_answer() -> None:
    bridge = CountingBridge(make_settings(origins=("https://app.example",)))
    async with running(bridge, shell=FAST) as origin:
        listed = await ask(origin, poll(bridge, "origin: https://app.example"))
        other = await ask(origin, poll(bridge, "origin: https://other.example"))
    assert listed.headers["access-control-allow-origin"] == "https://app.example"
    assert (listed.status, other.status, bridge.requests) == (200, 403, 1)


async def test_requests_at_once_and_by_uvicorn_share_a_connection(
    bridge: CountingBridge, origin: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(origin))
    health, request = get("/realtime/health/live"), poll(bridge)
    for data in (request, request, health, request, health, request + health, health + request):
        writer.write(data)
        for _ in range(data.count(b" HTTP/1.1\r\n")):
            assert (await read_answer(reader)).status == 200
    writer.transport.abort()


async def test_head_after_an_answer_at_once_has_a_deadline(bridge: CountingBridge) -> None:
    class Limited(HTTP):
        limits = HTTPLimits(head=0.2)

    async with running(bridge, shell=FAST, http=Limited) as origin:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(origin))
        writer.write(poll(bridge))
        assert (await read_answer(reader)).status == 200
        writer.write(b"GET /realtime/hea")
        assert (await read_answer(reader)).status == 408
        writer.transport.abort()


async def test_silent_connection_ends_after_an_answer_at_once(bridge: CountingBridge) -> None:
    class Impatient(HTTP):
        timeout_keep_alive = property(lambda _: 0.05, lambda _, __: None)

    async with running(bridge, shell=FAST, http=Impatient) as origin:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(origin))
        writer.write(poll(bridge))
        assert (await read_answer(reader)).status == 200
        async with asyncio.timeout(TIMEOUT):
            assert await reader.read() == b""
        writer.transport.abort()


class FullTransport(asyncio.Transport):
    """Transport of a client that reads nothing."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Do nothing."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


async def test_client_that_reads_nothing_gets_no_answer_at_once() -> None:
    bridge = CountingBridge(make_settings())
    async with bridge:
        app: Application = bridge
        config = Config(app, http=HTTP, ws=FAST, access_log=False, log_config=None)
        config.load()
        http, transport = HTTP(config, ServerState(), bridge.state), FullTransport()
        transport.set_protocol(http)
        http.connection_made(transport)
        http.data_received(poll(bridge))
        assert len(transport.written) == 1
        http.pause_writing()
        http.data_received(poll(bridge))
        assert len(transport.written) == 1
        http.connection_lost(None)
        await asyncio.gather(*http.tasks)
