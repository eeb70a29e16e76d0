"""As much of HTTP over ASGI as the bridge needs, so that it runs under any framework or none."""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

import orjson

from realtime_bridge.errors import PublishError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON_BODY_BYTES = 256 * 1024
"""The largest body of a request from a browser: 128 positions need a tenth of it."""

FORM = "application/x-www-form-urlencoded"

_logger = logging.getLogger("realtime_bridge.server")


class HTTPError(Exception):
    """A request ends with this status, and a JSON body that says why."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


class Disconnected(Exception):  # noqa: N818 -- it is a fact, not an error
    """The client went away before its request had arrived."""


class Request:
    """What an application's `authenticate` gets to see of a request, or of an upgrade.

    `scope` is the ASGI scope itself, for a framework's own request class or session.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive

    @property
    def method(self) -> str:
        """The HTTP method, in capitals."""
        return str(self.scope.get("method", "GET"))

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers by their names in lower case; of a repeated one, the last."""
        return {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in self.scope["headers"]
        }

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The query's parameters; of a repeated one, the last."""
        query = self.scope.get("query_string", b"")
        return dict(parse_qsl(query.decode("latin-1"))) if query else {}

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """The cookies that the browser sent."""
        try:
            jar = SimpleCookie(self.headers.get("cookie", ""))
        except CookieError:
            return {}
        return {name: morsel.value for name, morsel in jar.items()}

    @property
    def _content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def body(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            HTTPError: it is over `limit` bytes.
            Disconnected: it did not arrive whole.

        """
        received = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            received += message.get("body", b"")
            if len(received) > limit:
                raise HTTPError(413, "too_large", f"The body is over {limit:,} bytes")
            if not message.get("more_body", False):
                return bytes(received)

    async def json(self) -> dict[str, Any]:
        """Return the JSON object that the body is; an empty body is an empty object.

        A page of another site cannot send this content type without being asked for permission
        first, which is what keeps a form there from using our user's session.

        Raises:
            HTTPError: it is another content type, or not a JSON object.

        """
        if self._content_type != "application/json":
            raise HTTPError(415, "not_json", "Send content-type: application/json")
        try:
            fields = orjson.loads(await self.body(JSON_BODY_BYTES) or b"{}")
        except orjson.JSONDecodeError as error:
            raise HTTPError(400, "not_json", f"The body is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise HTTPError(400, "not_json", "The body is not a JSON object")
        return fields

    async def form(self) -> dict[str, str]:
        """Return the texts of the form, or of the JSON object, that the body is.

        Any site's page can send a form, so who answers one looks at the origin.

        Raises:
            HTTPError: it is neither.

        """
        if self._content_type != FORM:
            fields = await self.json()
            return {name: text for name, text in fields.items() if isinstance(text, str)}
        try:
            return dict(parse_qsl((await self.body(JSON_BODY_BYTES)).decode(), max_num_fields=100))
        except ValueError as error:
            raise HTTPError(400, "not_a_form", f"The body is no form: {error}") from error

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def bearer(self) -> str | None:
        """Return the token of the `Authorization` header, if it has one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token else None


@dataclass(slots=True)
class Response:
    """A whole answer. Nothing here may be stored by a cache, it is all about one user now."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, fields: object, *, status: int = 200) -> "Response":
        """Answer with a JSON document."""
        return cls(status, orjson.dumps(fields), {"content-type": "application/json"})

    @classmethod
    def error(cls, error: HTTPError) -> "Response":
        """Answer with what went wrong."""
        response = cls.json(
            {"error": {"code": error.code, "message": str(error)}}, status=error.status
        )
        response.headers.update(error.headers)
        return response

    async def send(self, send: Send) -> None:
        """Send it through ASGI."""
        self.headers["content-length"] = str(len(self.body))
        await send({"type": "http.response.start", **self.start()})
        await send({"type": "http.response.body", "body": self.body})

    async def deny(self, send: Send, scope: Scope) -> None:
        """Send it in answer to a WebSocket upgrade; servers that cannot, answer 403."""
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        await send({"type": "websocket.http.response.start", **self.start()})
        await send({"type": "websocket.http.response.body", "body": self.body})

    def start(self) -> dict[str, Any]:
        """Return the status and headers, as ASGI wants them."""
        headers = {
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **self.headers,
        }
        encoded = [
            (name.encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()
        ]
        return {"status": self.status, "headers": encoded}


def failure(route: str, error: Exception) -> Response:
    """Return the answer to a request that failed: what was wrong with it, or that we are."""
    if isinstance(error, HTTPError):
        return Response.error(error)
    if isinstance(error, Disconnected):
        return Response(status=400)
    if isinstance(error, PublishError):
        _logger.warning("%s cannot be answered: %s", route, error)
        headers = {"retry-after": "1"}
        return Response.error(HTTPError(503, "log_unavailable", str(error), headers=headers))
    _logger.error("%s failed", route, exc_info=error)
    return Response.error(HTTPError(500, "internal", "The server failed, try again"))
