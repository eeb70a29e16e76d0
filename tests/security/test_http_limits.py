"""Tests of the limits of requests, which `serve` gives to uvicorn."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.server.connections.fast import late_requests
from realtime_bridge.server.connections.fast.http import HTTP
from realtime_bridge.server.connections.fast.http_limits import HTTPLimits
from realtime_bridge.server.rejection_log import RejectionLog
from realtime_bridge.server.throttle import QUIET_SECONDS
from tests.security.requests import Answer, ask, get, port_of, post, read_answer
from tests.server.harness import FAST, SECRET, TIMEOUT, make_bridge, running

LIMIT = HTTP.limits.head_bytes


@pytest.fixture
def shell() -> str:
    return FAST


@asynccontextmanager
async def serving(limits: HTTPLimits | None = None, app: Any = None) -> AsyncIterator[str]:
    class Limited(HTTP):
        pass

    if limits:
        Limited.limits = limits
    async with running(app or make_bridge(), shell=FAST, http=Limited) as origin:
        yield origin


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[str], Awaitable[Stream]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Return a function that connects; all connections end with the test."""
    writers: list[asyncio.StreamWriter] = []

    async def connect(origin: str) -> Stream:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(origin))
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.transport.abort()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Wait for the end of a connection, and return what came before it."""
    async with asyncio.timeout(TIMEOUT):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


def rejections(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "clients rejected" in one.getMessage()]


def head_of(size: int, form: str) -> bytes:
    """Return a GET request whose head has about this size."""
    if form == "one header":
        return get("/realtime/health", "a: " + "b" * (size - 100))
    if form == "many headers":
        return get("/realtime/health", *("a: b",) * ((size - 100) // 6))
    return get("/realtime/health?" + "a" * (size - 100))


FORMS = ["one header", "many headers", "URL"]


@pytest.mark.parametrize("form", FORMS)
async def test_head_up_to_the_limit_is_read_and_a_larger_one_is_431(form: str) -> None:
    async with serving() as origin:
        assert (await ask(origin, head_of(LIMIT - 1_000, form))).status == 200
        for size in (LIMIT + 1_000, LIMIT * 3, LIMIT * 20):
            answer = await ask(origin, head_of(size, form))
            assert (answer.status, answer.headers["connection"]) == (431, "close")
            assert b"head_too_large" in answer.body
        assert (await ask(origin, get("/realtime/health"))).status == 200


@pytest.mark.parametrize("form", FORMS)
async def test_endless_head_is_431_and_one_log_line(
    dial: Dial, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as origin:
        for _ in range(3):
            reader, writer = await dial(origin)
            writer.write(head_of(LIMIT * 4, form).removesuffix(b"\r\n\r\n"))
            assert (await read_answer(reader)).status == 431
    assert len(rejections(caplog)) == 1


async def test_large_head_of_an_upgrade_is_431() -> None:
    async with serving() as origin:
        upgrade = ("upgrade: websocket", "connection: upgrade", "cookie: " + "a" * LIMIT)
        assert (await ask(origin, get("/realtime/ws", *upgrade))).status == 431


@pytest.mark.parametrize("rest", [b"a: b\r\n", b"x" * 100])
async def test_endless_trailers_end_the_connection(dial: Dial, rest: bytes) -> None:
    start = get("/realtime/poll", "transfer-encoding: chunked", method="POST")
    async with serving() as origin:
        reader, writer = await dial(origin)
        writer.write(start + b"2\r\n{}\r\n0\r\na: " + rest * (3 * LIMIT // len(rest)))
        await ended(reader)
        assert (await ask(origin, get("/realtime/health"))).status == 200


async def test_slow_head_is_408(dial: Dial) -> None:
    async with serving(HTTPLimits(head=0.2)) as origin:
        reader, writer = await dial(origin)
        writer.write(b"GET /realtime/health HTTP/1.1\r\nhost: x\r\n")
        answer = await read_answer(reader)
        assert (answer.status, answer.headers["connection"]) == (408, "close")


async def test_second_head_on_a_connection_has_a_deadline_too(dial: Dial) -> None:
    async with serving(HTTPLimits(head=0.2)) as origin:
        reader, writer = await dial(origin)
        writer.write(get("/realtime/health") + b"GET /realtime/hea")
        assert (await read_answer(reader)).status == 200
        assert (await read_answer(reader)).status == 408


async def test_silent_connection_is_closed(dial: Dial) -> None:
    async with serving(HTTPLimits(head=0.1)) as origin:
        reader, _ = await dial(origin)
        assert await ended(reader) == b""


async def test_body_without_progress_ends_and_is_logged(
    dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(HTTPLimits(body=0.1)) as origin:
        reader, writer = await dial(origin)
        writer.write(post("/realtime/connect", b"{}").removesuffix(b"}"))
        assert await ended(reader) == b""
    assert len(rejections(caplog)) == 1


async def test_body_that_makes_progress_may_take_long(dial: Dial) -> None:
    sizes: list[int] = []

    async def upload(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        sizes.append(size)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    limits = HTTPLimits(body=0.1, body_bytes=1)
    async with running(upload, shell=FAST, lifespan="off", http=_limited(limits)) as origin:
        reader, writer = await dial(origin)
        writer.write(get("/", "content-length: 100", method="POST"))
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.005)
        assert (await read_answer(reader)).status == 204
    assert sizes == [100]


def _limited(value: HTTPLimits) -> type[HTTP]:
    class Limited(HTTP):
        limits = value

    return Limited


async def test_body_after_its_response_is_read_for_a_time_only(dial: Dial) -> None:
    async with serving(HTTPLimits(discard=0.2)) as origin:
        reader, writer = await dial(origin)
        writer.write(get("/realtime/publish", "content-length: 1000000", method="POST"))
        assert (await read_answer(reader)).status == 401
        assert await ended(reader) == b""


async def test_connection_is_usable_after_a_body_that_was_not_read(dial: Dial) -> None:
    async with serving() as origin:
        reader, writer = await dial(origin)
        for _ in range(3):
            writer.write(post("/realtime/publish", b"x" * 200_000))
            assert (await read_answer(reader)).status == 401


async def test_oldest_silent_connection_makes_room(
    dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(HTTPLimits(pending=10)) as origin:
        silent = [await dial(origin) for _ in range(30)]
        for reader, _ in silent[:19]:
            assert await ended(reader) == b""
        assert (await ask(origin, get("/realtime/health"))).status == 200
        reader, writer = silent[-1]
        writer.write(get("/realtime/health"))
        assert (await read_answer(reader)).status == 200
    assert len(rejections(caplog)) == 1


async def test_half_bodies_and_idle_connections_make_room_too(dial: Dial) -> None:
    async with serving(HTTPLimits(pending=10)) as origin:
        writers = []
        for number in range(20):
            reader, writer = await dial(origin)
            writers.append(writer)
            if number % 2:
                writer.write(post("/realtime/connect", b"{}").removesuffix(b"}"))
            else:
                writer.write(get("/realtime/health"))
                assert (await read_answer(reader)).status == 200
        for _ in range(10):
            assert (await ask(origin, get("/realtime/health"))).status == 200
        for writer in writers:
            writer.transport.abort()


async def test_streams_and_sockets_take_no_place_of_requests(dial: Dial) -> None:
    bridge = make_bridge(authenticate=lambda _: "ann")
    async with serving(HTTPLimits(pending=3), bridge) as origin:
        streams = []
        for _ in range(6):
            reader, writer = await dial(origin)
            writer.write(get("/realtime/sse?channel=user-ann"))
            assert (await read_answer(reader, head_only=True)).status == 200
            streams.append((reader, writer))
        await bridge.publish("user-ann", "job.step", {"n": 1})
        for reader, writer in streams:
            async with asyncio.timeout(TIMEOUT):
                await reader.readuntil(b'"n":1')
            writer.transport.abort()


async def test_pipelined_requests_are_answered_in_order(dial: Dial) -> None:
    async with serving() as origin:
        reader, writer = await dial(origin)
        paths = ["/realtime/health/live", "/realtime/nothing"] * 600
        writer.write(b"".join(map(get, paths)))
        for path in paths:
            assert (await read_answer(reader)).status == (404 if "nothing" in path else 200)


async def test_deadline_does_not_end_requests_that_wait_for_an_answer(dial: Dial) -> None:
    release = asyncio.Event()

    async def slow(scope: Any, _: Any, send: Any) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    limits = HTTPLimits(head=0.05, body=0.05)
    async with running(slow, shell=FAST, lifespan="off", http=_limited(limits)) as origin:
        reader, writer = await dial(origin)
        writer.write(get("/first") + get("/second", "a: " + "b" * 20_000) + get("/third"))
        await asyncio.sleep(0.3)
        release.set()
        async with asyncio.timeout(TIMEOUT):
            for path in (b"/first", b"/second", b"/third"):
                await reader.readuntil(path)


async def test_bytes_that_are_no_http_are_400_and_one_log_line(
    dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as origin:
        for data in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n", get("/a b c")) * 3:
            reader, writer = await dial(origin)
            writer.write(data)
            answer = await read_answer(reader)
            assert (answer.status, answer.headers["connection"]) == (400, "close")
            assert b"no_http" in answer.body
            assert await ended(reader) == b""
    assert len(rejections(caplog)) == 1
    assert not [
        one for one in caplog.records if one.name.startswith("uvicorn") and "nvalid" in one.msg
    ]


async def test_upgrade_to_another_protocol_is_answered_without_a_log_line(
    dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABk")
    async with serving() as origin:
        reader, writer = await dial(origin)
        writer.write(get("/realtime/health", *upgrade))
        assert (await read_answer(reader)).status == 200
    assert not [one for one in caplog.records if "upgrade" in one.getMessage().lower()]


async def test_disconnect_reaches_the_first_of_pipelined_requests(dial: Dial) -> None:
    arrived: asyncio.Queue[str] = asyncio.Queue()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        arrived.put_nowait(scope["path"])
        arrived.put_nowait((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async with running(wait, shell=FAST, lifespan="off", http=HTTP) as origin:
        _, writer = await dial(origin)
        writer.write(get("/first") + get("/second") + get("/third"))
        async with asyncio.timeout(TIMEOUT):
            assert await arrived.get() == "/first"
            writer.transport.abort()
            assert await arrived.get() == "http.disconnect"


def test_rejections_of_a_reason_are_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    log = RejectionLog(lambda: now[0])
    for _ in range(100):
        log.report("one", "hint")
        log.report("two", "hint")
        now[0] += QUIET_SECONDS / 2
    assert len(rejections(caplog)) == 2
    now[0] += QUIET_SECONDS
    log.report("one", "hint")
    assert len(rejections(caplog)) == 3
    assert "earlier=100" in rejections(caplog)[-1]


UPGRADE = get(
    "/realtime/ws",
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
)


@pytest.mark.parametrize("sizes", [(len(UPGRADE),), (30, len(UPGRADE) - 30)])
async def test_upgrade_opens_in_one_piece_and_in_two(dial: Dial, sizes: tuple[int, ...]) -> None:
    async with serving() as origin:
        reader, writer = await dial(origin)
        sent = 0
        for size in sizes:
            writer.write(UPGRADE[sent : sent + size])
            await asyncio.sleep(0)
            sent += size
        answer = await read_answer(reader)
        assert answer.status == 101
        assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


async def test_rejected_upgrade_is_answered_and_closed(dial: Dial) -> None:
    async with serving() as origin:
        reader, writer = await dial(origin)
        writer.write(UPGRADE.replace(b"version: 13", b"version: 12"))
        assert (await read_answer(reader)).status == 426
        assert await ended(reader) == b""


async def test_connection_without_a_request_ends_with_the_server(dial: Dial) -> None:
    async with serving() as origin:
        reader, _ = await dial(origin)
        assert (await ask(origin, get("/realtime/health"))).status == 200
    assert await ended(reader) == b""


TOKEN = Tokens(SECRET, issuer="realtime").issue("42", seconds=24 * 3_600)
POLL = post("/realtime/poll", b'{"positions":{}}', f"realtime-token: {TOKEN}")
UNUSUAL = UPGRADE.replace(b"\r\n\r\n", b"\r\na: b\r\na: b\r\n\r\n")
WAITING = HTTPLimits(waiting=0.4)


async def ask_late(stream: Stream, request: bytes) -> Answer:
    """Send a request while the event loop of the server does something else."""
    reader, writer = stream
    writer.write(request)
    time.sleep(0.45)  # noqa: ASYNC251 -- that is the point
    return await read_answer(reader)


async def test_overload_is_503_on_an_open_connection(dial: Dial) -> None:
    async with serving(WAITING) as origin, asyncio.timeout(TIMEOUT):
        reader, writer = stream = await dial(origin)
        while (answer := await ask_late(stream, POLL)).status == 200:
            pass
        assert (answer.status, "connection" in answer.headers) == (503, False)
        assert 5 <= int(answer.headers["retry-after"]) <= 15
        assert b"overloaded" in answer.body
        writer.write(POLL)
        while (await read_answer(reader)).status != 200:
            writer.write(POLL)  # this machine is slow


async def test_requests_before_a_response_have_no_others_refused(
    dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = 0.0
    monkeypatch.setattr(late_requests, "seconds_waited", lambda _: waited)
    async with serving(HTTPLimits(waiting=0.1)) as origin:
        reader, writer = await dial(origin)
        writer.write(POLL)
        assert (await read_answer(reader)).status == 200
        for _ in range(5):
            # Their bytes came before the response to the request before: one client sent them all.
            waited = 3_600.0
            writer.write(POLL)
            assert (await read_answer(reader)).status == 200
            await asyncio.sleep(0.06)
            waited = 0.0
            assert (await ask(origin, POLL)).status == 200


@pytest.mark.parametrize("late", [POLL, UPGRADE, UNUSUAL], ids=["poll", "upgrade", "unusual"])
async def test_overload_closes_new_connections(
    dial: Dial, late: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(WAITING) as origin, asyncio.timeout(TIMEOUT):
        while (answer := await ask_late(stream := await dial(origin), late)).status != 503:
            pass
        assert answer.headers["connection"] == "close"
        assert await ended(stream[0]) == b""
        assert (await ask(origin, get("/realtime/health"))).status == 200
    assert len(rejections(caplog)) == 1
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


async def test_page_of_another_origin_can_read_the_refusal(dial: Dial) -> None:
    page = "https://app.example"
    bridge = make_bridge(origins=(page,))
    late = post(
        "/realtime/poll", b'{"positions":{}}', f"realtime-token: {TOKEN}", f"origin: {page}"
    )
    preflight = get("/realtime/poll", f"origin: {page}", method="OPTIONS")
    async with serving(WAITING, bridge) as origin, asyncio.timeout(TIMEOUT):
        while (answer := await ask_late(await dial(origin), late)).status != 503:
            pass
        assert answer.headers["access-control-allow-origin"] == page
        assert answer.headers["access-control-expose-headers"] == "retry-after"
        for _ in range(2):
            assert (await ask_late(await dial(origin), preflight)).status == 204
