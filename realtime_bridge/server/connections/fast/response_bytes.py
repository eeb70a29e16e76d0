"""Response that rejects a client, as bytes, where no ASGI application is asked."""

from http import HTTPStatus

from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.http.response import Response


def rejection(error: HTTPError) -> bytes:
    """Return the response that rejects the client."""
    response = Response.error(error)
    head = response.start()
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [b": ".join(pair) for pair in head["headers"]]
    lines += [f"content-length: {len(response.body)}".encode(), b"connection: close"]
    return b"\r\n".join((*lines, b"", response.body))
