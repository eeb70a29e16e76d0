"""Requests for a WebSocket, from the bytes of a client or from those that uvicorn writes."""

import re
from typing import Any

from realtime_bridge.server.http.request import Request

_MOST_BYTES = 8 * 1024

_HEAD = re.compile(
    rb"GET (?P<target>/[A-Za-z0-9/_.~-]*(?:\?[A-Za-z0-9_.~%&=+-]*)?) HTTP/1\.1\r\n"
    rb"(?P<fields>(?:[A-Za-z0-9-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
)
"""Head of a usual request, stricter than RFC 9112: everything else is for uvicorn's parser."""

_FIELD = re.compile(rb"([^:]+):[\t ]*([^\r]*)\r\n")

_BODY_FIELDS = frozenset((b"content-length", b"transfer-encoding", b"expect"))


def read_upgrade(data: bytes) -> Request | None:
    """Return the request of a client's first bytes, if they are the whole of a usual upgrade."""
    if len(data) > _MOST_BYTES or not data.endswith(b"\r\n\r\n"):
        return None
    match = _HEAD.fullmatch(data)
    if match is None:
        return None
    target, lines = match.groups()
    headers = [(name.lower(), value.rstrip(b"\t ")) for name, value in _FIELD.findall(lines)]
    fields = dict(headers)
    if len(fields) < len(headers) or not _asks_for_websocket(fields):
        return None
    return upgrade_request(b"GET", target, headers)


def upgrade_request(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> Request:
    """Return the request of the parts of a head, without the address of its client."""
    path, _, query = target.partition(b"?")
    scope: dict[str, Any] = {
        "type": "websocket",
        "method": method.decode("latin-1"),
        "path": path.decode("latin-1"),
        "query_string": query,
        "headers": headers,
    }
    return Request(scope, _disconnect)


def _asks_for_websocket(fields: dict[bytes, bytes]) -> bool:
    options = fields.get(b"connection", b"").lower().split(b",")
    return (
        fields.get(b"upgrade", b"").lower() == b"websocket"
        and b"upgrade" in [option.strip() for option in options]
        and _BODY_FIELDS.isdisjoint(fields)
    )


async def _disconnect() -> dict[str, object]:
    return {"type": "websocket.disconnect"}
