"""Limits of HTTP requests."""

from dataclasses import dataclass

from realtime_bridge.server.http.request import HTTPError


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPLimits:
    """Limits of requests, in bytes and in seconds.

    Args:
        head_bytes: the largest head of a request; the trailers of a body have the same limit.
        head: from the connection, or from a request's first byte, to the end of the head.
        body: a body makes progress by `body_bytes` in this time, or ends.
        body_bytes: the progress of a body.
        discard: the rest of a body is read for this time after its response.
        linger: the bytes of a rejected client are read for this time, because a close before them
            would discard the response.
        waiting: while all requests of clients wait longer for this process, they are refused.
        pending: the most connections without a complete request; half of the process's file
            descriptors by default.

    """

    head_bytes: int = 64 * 1024
    head: float = 10.0
    body: float = 20.0
    body_bytes: int = 16 * 1024
    discard: float = 10.0
    linger: float = 1.0
    waiting: float = 2.0
    pending: int | None = None

    def large_head(self) -> HTTPError:
        """Return the error of a head over its limit of bytes."""
        limit = f"over {self.head_bytes:,} bytes: send fewer or shorter headers"
        return HTTPError(431, "head_too_large", f"The head of the request is {limit}")

    def slow_head(self) -> HTTPError:
        """Return the error of a head over its limit of time."""
        limit = f"The head of the request took over {self.head:g} s: send it again"
        return HTTPError(408, "too_slow", limit)
