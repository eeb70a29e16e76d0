"""Responses as bytes, where no ASGI application is asked."""

from collections.abc import Iterable
from functools import cache
from http import HTTPStatus

from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.http.response import Response


def encode_response(
    response: Response, before: Iterable[tuple[bytes, bytes]] = (), *, is_last: bool = False
) -> bytes:
    """Return a response, its headers and its body.

    Args:
        response: the response.
        before: headers that come first, such as those of the server.
        is_last: whether the connection is closed after it.

    """
    status, body = response.status, response.body
    first = b"".join([b"%b: %b\r\n" % pair for pair in before])
    headers = "".join([f"{name}: {text}\r\n" for name, text in response.all_headers().items()])
    last = "connection: close\r\n" if is_last else ""
    head = f"{headers}content-length: {len(body)}\r\n{last}\r\n".encode("latin-1")
    return b"".join((_status_line(status), first, head, body))


@cache
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()


def rejection(error: HTTPError) -> bytes:
    """Return the response that rejects a client."""
    return encode_response(Response.error(error), is_last=True)
