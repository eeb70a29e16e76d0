"""HTTP requests over ASGI, independent of any framework."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self
from urllib.parse import parse_qsl

import orjson

from realtime_bridge.server.http.cookies import read_cookies

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_BODY_BYTES = 256 * 1024
"""Largest body of a browser's request, in bytes; 400 positions need two thirds at most."""

LARGE_BODY_SECONDS = 10.0
"""Longest time for the rest of a larger body, while others may have to wait for it."""

DISCONNECTED = (OSError, RuntimeError)
"""Exceptions of `send` after the client disconnected; they depend on the ASGI server."""

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class HTTPError(Exception):
    """Error that ends a request with a status and a JSON body.

    Args:
        status: HTTP status.
        code: stable word for programs, such as `bad_token`.
        message: sentence for people.
        headers: further response headers.
        time: the server's time in ms since the Unix epoch, where the other clock may be wrong.
        state: the state of a stream or job, where it does not permit the request.

    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        time: int | None = None,
        state: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers: dict[str, str] = dict(headers or {})
        self.time = time
        self.state = state


class ClientDisconnect(Exception):  # noqa: N818 -- Starlette's name for this event
    """Disconnect of the client before its whole request arrived."""


@dataclass(eq=False)
class Request:
    """HTTP request or WebSocket upgrade, as an application's `authenticate` receives it.

    Attributes:
        scope: the ASGI scope itself, for a framework's own request class or session.

    """

    scope: Scope
    _receive: Receive

    @classmethod
    def plain(cls, scope: Scope, headers: Mapping[str, str]) -> Self:
        """Create a request whose headers and body were read before; its scope has no headers."""
        request = cls(scope, _ended)
        request.headers = headers
        return request

    @property
    def method(self) -> str:
        """HTTP method in capitals."""
        return str(self.scope.get("method", "GET"))

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """Headers by lower-case name; the first value of a repeated header."""
        # The first, as in Starlette: uvicorn with httptools appends the trailers of a chunked body,
        # which no proxy checks. latin-1 decodes every byte; RFC 9110 §5.5 allows those above 0x7F.
        return {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in reversed(self.scope["headers"])
        }

    @cached_property
    def query_params(self) -> Mapping[str, str]:
        """Query parameters by name, also empty ones; the last value of a repeated parameter."""
        query = self.scope.get("query_string", b"")
        return dict(_parse_query(query)) if query else {}

    def query_list(self, name: str) -> list[str]:
        """Return all values of a query parameter, in order."""
        query = self.scope.get("query_string", b"")
        return [value for key, value in _parse_query(query) if key == name]

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """Cookies by name; the last value of a repeated name."""
        # HTTP/2 may split the header into several (RFC 9113 §8.2.3).
        headers = self.scope["headers"]
        return read_cookies(value.decode("latin-1") for name, value in headers if _is_cookie(name))

    @property
    def _content_type(self) -> str:
        text = self.headers.get("content-type", "")
        return text if text == JSON else text.partition(";")[0].strip().lower()

    async def body(self, limit: int, *, large: asyncio.Semaphore | None = None) -> bytes:
        """Return the whole body.

        Args:
            limit: the largest accepted size, in bytes.
            large: bounds the number of bodies over `JSON_BODY_BYTES` that are read at once.

        Raises:
            HTTPError: 413, the body is over `limit`; 408, a large one took too long.
            ClientDisconnect: the client disconnected before the end of the body.

        """
        chunks = bytearray()
        async with AsyncExitStack() as exits:
            while await self._receive_body(chunks, limit):
                if large and len(chunks) > JSON_BODY_BYTES:
                    await exits.enter_async_context(large)
                    large = None
                    await exits.enter_async_context(_in_time())
        return bytes(chunks)

    async def _receive_body(self, chunks: bytearray, limit: int) -> bool:
        """Add the next part of the body, and return whether more follows."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks += message.get("body", b"")
        # Checked per chunk: `content-length` may be absent, and may be false.
        if len(chunks) > limit:
            raise HTTPError(
                413, "too_large", f"The body is over {limit:,} bytes: send a smaller one"
            )
        return bool(message.get("more_body", False))

    async def json(self) -> dict[str, Any]:
        """Return the JSON object of the body; an empty body is an empty object.

        Raises:
            HTTPError: 415, another content type; 400, the body is not a JSON object.

        """
        self._check_json_type()
        return _read_object(await self.body(JSON_BODY_BYTES))

    def json_of(self, body: bytes) -> dict[str, Any]:
        """Return the JSON object of a body that has arrived; see `json`.

        Raises:
            HTTPError: as for `json`.

        """
        self._check_json_type()
        return _read_object(body)

    def _check_json_type(self) -> None:
        # CSRF: a form of another site cannot send this content type, and a script there needs a
        # preflight, which `CORSPolicy` denies. Cookies alone therefore authorize no foreign page.
        if self._content_type != JSON:
            raise HTTPError(
                415,
                "not_json",
                f"content-type is {self._content_type[:100]!r}: send application/json",
            )

    async def form(self) -> dict[str, str]:
        """Return the text fields of the body: a form or a JSON object.

        A page of any site can send a form, so its route must check the origin.

        Raises:
            HTTPError: 400 or 415, the body is neither a form nor a JSON object.

        """
        if self._content_type != FORM:
            fields = await self.json()
            return {name: text for name, text in fields.items() if isinstance(text, str)}
        try:
            # parse_qsl raises ValueError for more fields, which bounds a hostile body's cost.
            return dict(parse_qsl((await self.body(JSON_BODY_BYTES)).decode(), max_num_fields=100))
        except ValueError as error:
            raise HTTPError(
                400, "not_a_form", f"The body is not a form ({error}): send one, or a JSON object"
            ) from error

    async def wait_for_disconnect(self) -> None:
        """Wait until the client closes the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise HTTPError(
            400, "not_json", f"The body is not JSON ({error}): send a JSON object"
        ) from error
    if not isinstance(fields, dict):
        raise HTTPError(400, "not_json", "The body is not a JSON object: send one")
    return fields


def _parse_query(query: bytes) -> list[tuple[str, str]]:
    # An empty parameter is not an absent one: `key=` would get the events of all keys.
    text = query.decode("latin-1")
    if "%" in text or "+" in text:
        return parse_qsl(text, keep_blank_values=True)
    # The same without escapes, in an eighth of the time: signed calls have long queries.
    pairs = [pair.partition("=") for pair in text.split("&") if pair]
    return [(name, value) for name, _, value in pairs]


async def _ended() -> Message:
    return {"type": "http.disconnect"}


def _is_cookie(name: bytes) -> bool:
    return name.lower() == b"cookie"


@asynccontextmanager
async def _in_time() -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(LARGE_BODY_SECONDS):
            yield
    except TimeoutError as error:
        limit = f"The body took over {LARGE_BODY_SECONDS:g} s: send several smaller ones"
        raise HTTPError(408, "too_slow", limit) from error
