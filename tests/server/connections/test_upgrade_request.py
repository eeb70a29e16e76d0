"""Tests of upgrades in a client's first bytes: usual ones are read, all others are uvicorn's."""

import pytest

from realtime_bridge.server.connections.fast.upgrade_request import read_upgrade

FIELDS = (
    "Host: app.example",
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13 ",
)


def head(*fields: str, first: str = "GET /realtime/ws?a=1&b=%20 HTTP/1.1") -> bytes:
    return "\r\n".join((first, *fields, "", "")).encode("latin-1")


def test_upgrade_of_a_browser_is_read() -> None:
    request = read_upgrade(head(*FIELDS, "Cookie: name=välue; other=2"))
    assert request
    assert request.scope["path"] == "/realtime/ws"
    assert request.query_params == {"a": "1", "b": " "}
    assert request.headers["sec-websocket-version"] == "13"
    assert request.headers["sec-websocket-key"] == "dGhlIHNhbXBsZSBub25jZQ=="
    assert request.cookies["name"] == "välue"


@pytest.mark.parametrize(
    "data",
    [
        head(*FIELDS, first="POST /realtime/ws HTTP/1.1"),
        head(*FIELDS, first="GET /realtime/ws HTTP/1.0"),
        head(*FIELDS, first="GET http://app.example/realtime/ws HTTP/1.1"),
        head(*FIELDS, first="GET /realtime/%77s HTTP/1.1"),
        head(*FIELDS)[:-1],
        head(*FIELDS) + b"\x81\x80\x00\x00\x00\x00",
        head(*FIELDS) + b"GET / HTTP/1.1\r\n\r\n",
        head(*FIELDS, "Content-Length: 2"),
        head(*FIELDS, "Transfer-Encoding: chunked"),
        head(*FIELDS, "Expect: 100-continue"),
        head(*FIELDS, "Host: other.example"),
        head(*FIELDS, "Name : value"),
        head(*FIELDS, "Name: first\r\n second"),
        head(*FIELDS, "Name: a\x00b"),
        head(*FIELDS, "Name: a\nUpgrade: other"),
        head(*FIELDS, "Cookie: " + "a" * 8_192),
        head(*FIELDS[2:]),
        head(*FIELDS[:2], *FIELDS[3:]),
        head(*FIELDS[:2], "Upgrade: h2c", *FIELDS[3:]),
    ],
)
def test_any_other_request_is_left_to_uvicorn(data: bytes) -> None:
    assert read_upgrade(data) is None
