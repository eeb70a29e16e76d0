"""Usual POST requests, read from the bytes of a client that sent the whole of one at once."""

import re
from typing import NamedTuple

from realtime_bridge.server.http.request import Request

_MOST_BYTES = 16 * 1024

_HEAD = re.compile(
    rb"POST (?P<path>/[A-Za-z0-9/_.~-]*) HTTP/1\.1\r\n"
    rb"(?P<fields>(?:[A-Za-z0-9-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
)
"""Head of a usual request, stricter than RFC 9112: everything else is for uvicorn's parser."""

_FIELD = re.compile(r"([^:]+):[\t ]*([^\r]*)\r\n")

_UNUSUAL = frozenset(("transfer-encoding", "expect", "upgrade", "content-encoding"))
"""Headers of requests that only uvicorn answers."""


class PlainRequest(NamedTuple):
    """Whole request."""

    path: str
    request: Request
    body: bytes


def read_post(data: bytes) -> PlainRequest | None:
    """Return the request of these bytes, if they are the whole of one usual POST."""
    match = _HEAD.match(data) if len(data) <= _MOST_BYTES else None
    if match is None:
        return None
    path, fields = match.groups()
    pairs = _FIELD.findall(fields.decode("latin-1"))
    headers = {name.lower(): value.rstrip("\t ") for name, value in pairs}
    body = data[match.end() :]
    if (
        len(headers) < len(pairs)
        or headers.get("content-length") != str(len(body))
        or not _UNUSUAL.isdisjoint(headers)
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
    ):
        return None
    name = path.decode()
    return PlainRequest(
        name, Request.plain({"type": "http", "method": "POST", "path": name}, headers), body
    )
