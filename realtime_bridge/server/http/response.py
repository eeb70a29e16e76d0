"""HTTP responses over ASGI."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import PublishError
from realtime_bridge.server.fault_log import FaultLog
from realtime_bridge.server.http.request import ClientDisconnect, HTTPError, Scope, Send

WORKER_ROUTE = "publish"
"""Route whose callers have the secret."""


@dataclass(slots=True)
class Response:
    """Complete response; by default no cache may store it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, fields: object, *, status: int = 200) -> "Response":
        """Create a response with a JSON body."""
        return cls(status, orjson.dumps(fields), {"content-type": "application/json"})

    @classmethod
    def error(cls, error: HTTPError) -> "Response":
        """Create the response that reports an error."""
        fields: dict[str, object] = {"code": error.code, "message": str(error)}
        if error.time is not None:
            fields["time"] = error.time
        if error.state is not None:
            fields["state"] = error.state
        response = cls.json({"error": fields}, status=error.status)
        response.headers.update(error.headers)
        return response

    @classmethod
    def event_stream(cls) -> "Response":
        """Create the head of a stream; its headers keep proxies from buffering and compressing."""
        return cls(
            headers={
                "content-type": "text/event-stream",
                "cache-control": "no-store, no-transform",
                "x-accel-buffering": "no",
            }
        )

    async def send(self, send: Send, *, head_only: bool = False) -> None:
        """Send the response through ASGI; to a HEAD request without its body."""
        self.headers["content-length"] = str(len(self.body))
        await send({"type": "http.response.start", **self.start()})
        await send({"type": "http.response.body", "body": b"" if head_only else self.body})

    async def deny(self, send: Send, scope: Scope) -> None:
        """Send the response as the rejection of a WebSocket upgrade."""
        # Without this ASGI extension an application can only close before it accepts; the ASGI
        # specification then makes the server answer 403.
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        await send({"type": "websocket.http.response.start", **self.start()})
        await send({"type": "websocket.http.response.body", "body": self.body})

    def start(self) -> dict[str, Any]:
        """Return the status and headers in ASGI's form."""
        encoded = [
            (name.encode("latin-1"), text.encode("latin-1"))
            for name, text in self.all_headers().items()
        ]
        return {"status": self.status, "headers": encoded}

    def all_headers(self) -> dict[str, str]:
        """Return the headers, with those that each response has."""
        # no-store: tokens and events belong to one user at one moment. nosniff: no browser may
        # run data of ours as a script.
        return {"cache-control": "no-store", "x-content-type-options": "nosniff", **self.headers}


def failure(route: str, error: Exception, outage: OutageLog, faults: FaultLog) -> Response:
    """Return the response to a request that raised `error`, and log faults of the server.

    Args:
        route: the name of the route.
        error: the exception.
        outage: reporter of what fails because of the log.
        faults: reporter of mistakes in code.

    """
    if isinstance(error, HTTPError):
        return Response.error(error)
    if isinstance(error, ClientDisconnect):
        # The connection is closed: the ASGI server drops this response.
        return Response(status=400)
    if isinstance(error, PublishError):
        outage.failed(error, route=route)
        headers = {"retry-after": "1"}
        # The error names addresses and internals of the log: for workers, which are signed.
        message = str(error) if route == WORKER_ROUTE else "The log does not answer: try again"
        return Response.error(HTTPError(503, "log_unavailable", message, headers=headers))
    faults.report("request failed", error, route=route)
    return Response.error(HTTPError(500, "internal", "The server failed: try again"))
