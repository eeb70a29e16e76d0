"""Tests of input that other applications and proxies add to a request."""

import asyncio
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import cookie_parser

from realtime_bridge.server.http.cookies import read_cookies
from realtime_bridge.server.http.request import Request
from tests.security.requests import ask, get, port_of, post, read_answer
from tests.server.harness import FAST, Serve, Site, make_bridge

ODD_COOKIES = [
    'CookieConsent={"action":"accept"}; session=abc',
    "a[0]=1; session=abc",
    "foo; session=abc",
    "name=Zoë; session=abc",
    'a="unbalanced; session=abc',
    "path=/; session=abc",
    "expires=Thu, 01 Jan 1970 00:00:00 GMT; session=abc",
    "=x; ;; session=abc",
    "a=b=c; session = abc ",
    "session=old; session=abc",
    'session="abc"',
    r'session="\141bc"',
    "session=abc; a=\\",
]


def session(request: Request) -> str | None:
    return request.cookies.get("session")


@pytest.mark.parametrize("cookie", ODD_COOKIES)
@pytest.mark.parametrize("route", ["connect", "poll", "sse", "latest", "ws"])
async def test_session_is_read_beside_odd_cookies(serve: Serve, route: str, cookie: str) -> None:
    """Requests are authenticated by the session; an upgrade accepts the same head."""
    site = await serve(make_bridge(authenticate=session))
    header = f"cookie: {cookie}"
    requests = {
        "connect": post("/realtime/connect", b"{}", header),
        "poll": post("/realtime/poll", b'{"positions":{}}', header),
        "sse": get("/realtime/sse?channel=user-abc", header),
        "latest": get("/realtime/latest?channel=user-abc", header),
        "ws": get(
            "/realtime/ws",
            header,
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version: 13",
        ),
    }
    answer = await ask(site.origin, requests[route], head_only=True)
    assert answer.status == (101 if route == "ws" else 200)


async def test_cookies_of_several_headers_are_joined(serve: Serve) -> None:
    site = await serve(make_bridge(authenticate=session))
    request = post("/realtime/connect", b"{}", "cookie: a={}", "Cookie: session=abc", "cookie: b=1")
    answer = await ask(site.origin, request)
    assert orjson.loads(answer.body)["user"] == "abc"


@given(st.text(alphabet=st.sampled_from('ab=;" \\{}[]0127é,\t'), max_size=40))
def test_cookies_are_read_by_the_rule_of_starlette(header: str) -> None:
    assert read_cookies([header]) == cookie_parser(header)


@pytest.mark.timed
@pytest.mark.parametrize("value", ['"' + "\\" * 65_000 + '"', "=" * 65_000, ";" * 65_000])
def test_large_cookie_is_read_in_linear_time(value: str) -> None:
    start = time.process_time()
    for _ in range(5):
        read_cookies([f"a={value}"])
    assert time.process_time() - start < 1.0  # a quadratic parser takes 10 s for the first one


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/", "headers": headers}


async def _no_body() -> Any:
    raise AssertionError("not read")


def test_first_value_of_a_repeated_header_counts() -> None:
    headers = (b"Origin", b"https://a"), (b"x", b"1"), (b"origin", b"https://b")
    request = Request(scope(*headers), _no_body)
    assert request.headers == {"origin": "https://a", "x": "1"}


IDENTITY = "x-remote-user"


def remote_user(request: Request) -> str | None:
    return request.headers.get(IDENTITY)


def chunked(*headers: str, trailers: tuple[str, ...]) -> bytes:
    lines = ("content-type: application/json", "transfer-encoding: chunked", *headers)
    end = "\r\n".join(("2", "{}", "0", *trailers, "", ""))
    return get("/realtime/connect", *lines, method="POST") + end.encode()


async def test_trailer_does_not_replace_a_header(serve: Serve) -> None:
    site = await serve(make_bridge(authenticate=remote_user))
    request = chunked(f"{IDENTITY}: ann", trailers=(f"{IDENTITY}: admin", "origin: https://evil"))
    answer = await ask(site.origin, request)
    # uvicorn's own class adds trailers to the headers, so the foreign origin is seen there.
    assert answer.status == 403 or orjson.loads(answer.body)["user"] == "ann"


@pytest.mark.parametrize("shell", [FAST], indirect=True)
@pytest.mark.parametrize("in_one_piece", [True, False])
async def test_trailer_adds_no_header(serve: Serve, *, in_one_piece: bool) -> None:
    site = await serve(make_bridge(authenticate=remote_user))
    request = chunked(trailers=(f"{IDENTITY}: admin", "origin: https://evil"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(site.origin))
    head, _, rest = request.partition(b"\r\n\r\n")
    for piece in [request] if in_one_piece else [head + b"\r\n\r\n", rest]:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await read_answer(reader)
    writer.transport.abort()
    assert (answer.status, orjson.loads(answer.body)["error"]["code"]) == (401, "not_signed_in")


@pytest.mark.parametrize("shell", [FAST], indirect=True)
@pytest.mark.parametrize(
    "head",
    [
        b"GET /realtime/ws HTTP/1.1\r\nhost: x\r\na: b\r\n c: d\r\n",
        b"GET /realtime/ws HTTP/1.1\r\nhost: x\r\na: b\nx-remote-user: admin\r\n",
        b"GET /realtime/ws HTTP/1.1\r\nhost: x\r\na : b\r\n",
        b"GET /realtime/ws HTTP/1.1\r\nhost: x\r\na: b\rx-remote-user: admin\r\n",
        b"GET /realtime/ws\x00 HTTP/1.1\r\nhost: x\r\n",
    ],
)
async def test_malformed_head_does_not_become_another_header(site: Site, head: bytes) -> None:
    upgrade = (
        b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await ask(site.origin, head + upgrade, head_only=True)).status in (400, 404)


@pytest.mark.parametrize(
    "framing",
    [
        "content-length: 2\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 2",
        "content-length: 2\r\ncontent-length: 40",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "content-length: +2",
        "content-length: 2, 2",
    ],
)
async def test_ambiguous_body_is_rejected(site: Site, framing: str) -> None:
    """A proxy that reads the length otherwise would take the body for another request."""
    smuggled = b"GET /realtime/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    request = get("/realtime/connect", "content-type: application/json", framing, method="POST")
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(site.origin))
    writer.write(request + b"{}" + smuggled)
    answer = await read_answer(reader)
    assert answer.status == 400
    assert await reader.read() == b""  # no second response
    writer.close()


@pytest.mark.parametrize("shell", [FAST], indirect=True)
@pytest.mark.parametrize("path", ["/realtime/publish", "/other"])
async def test_upgrade_with_a_line_over_the_limit_is_answered(site: Site, path: str) -> None:
    upgrade = ("upgrade: websocket", "connection: upgrade", "cookie: " + "a" * 20_000)
    assert (await ask(site.origin, get(path, *upgrade))).status == 400


@pytest.mark.parametrize("query", ["tenant=a", "tenant=a&userid=x", "%ff=%00", "a=" + "b" * 7_000])
async def test_foreign_query_is_accepted_on_each_route(serve: Serve, query: str) -> None:
    seen: list[str] = []

    def authenticate(request: Request) -> str:
        seen.append(request.query_params.get("tenant", ""))
        return "ann"

    site = await serve(make_bridge(authenticate=authenticate))
    assert (await site.post(f"connect?{query}", {}))[0] == 200
    assert (await site.post(f"poll?{query}", {"positions": {}}))[0] == 200
    for path in (f"latest?channel=user-ann&{query}", f"sse?channel=user-ann&{query}", "health"):
        answer = await ask(site.origin, get(f"/realtime/{path}"), head_only=True)
        assert answer.status == 200
    client = await site.open(f"?{query}")
    await client.introduce(site.token("ann"))
    assert seen == ["a" if "tenant=a" in query else ""] * 4
