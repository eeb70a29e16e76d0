"""Opening handshake of RFC 6455 §4.2, for a request that an HTTP server has parsed."""

import base64
import binascii
import hashlib
from http import HTTPStatus

from realtime_bridge.protocol.wire.messages import SUBPROTOCOL
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"
_KEY_BYTES = 16


def parse(data: bytes) -> Request:
    """Return the request of well-formed bytes, with header names in lower case."""
    first, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, target, _ = first.split(b" ", 2)
    path, _, query = target.partition(b"?")
    scope = {
        "type": "websocket",
        "method": method.decode("latin-1"),
        "path": path.decode("latin-1"),
        "query_string": query,
        "headers": [tuple(line.split(b": ", 1)) for line in lines],
    }
    return Request(scope, _disconnect)


def answer(request: Request) -> bytes:
    """Return the response that opens the WebSocket, without extensions.

    Raises:
        HTTPError: the request cannot open a WebSocket.

    """
    headers = request.headers
    if request.scope["method"] != "GET":
        raise HTTPError(400, "bad_upgrade", "A WebSocket opens with GET")
    if headers.get("sec-websocket-version") != _VERSION:
        version = {"sec-websocket-version": _VERSION}
        raise HTTPError(426, "bad_upgrade", "Speak version 13 of WebSocket", headers=version)
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + _accepted(headers.get("sec-websocket-key", "")),
    ]
    offered = headers.get("sec-websocket-protocol", "").split(",")
    if SUBPROTOCOL in map(str.strip, offered):
        lines.append(f"Sec-WebSocket-Protocol: {SUBPROTOCOL}".encode())
    return b"\r\n".join((*lines, b"", b""))


def rejection(error: HTTPError) -> bytes:
    """Return the response that rejects the client."""
    response = Response.error(error)
    head = response.start()
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [b": ".join(pair) for pair in head["headers"]]
    lines += [f"content-length: {len(response.body)}".encode(), b"connection: close"]
    return b"\r\n".join((*lines, b"", response.body))


def _accepted(key: str) -> bytes:
    """Return the proof that the server speaks WebSocket (RFC 6455 §4.2.2)."""
    try:
        is_valid = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        is_valid = False
    if not is_valid:
        raise HTTPError(400, "bad_upgrade", "Sec-WebSocket-Key is 16 bytes in base64")
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())


async def _disconnect() -> dict[str, object]:
    return {"type": "websocket.disconnect"}
