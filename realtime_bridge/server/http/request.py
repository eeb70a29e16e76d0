"""As much of HTTP over ASGI as the bridge needs, so that it runs under any framework or none."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

import orjson

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON_BODY_BYTES = 256 * 1024
"""The largest body of a request from a browser: 128 positions need a tenth of it."""

FORM = "application/x-www-form-urlencoded"


class HTTPError(Exception):
    """A request ends with this status, and a JSON body that says why."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


class ClientDisconnect(Exception):  # noqa: N818 -- it is a fact, not an error
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
    def query_params(self) -> Mapping[str, str]:
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
            ClientDisconnect: it did not arrive whole.

        """
        received = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
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

    async def wait_for_disconnect(self) -> None:
        """Wait until the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def bearer(self) -> str | None:
        """Return the token of the `Authorization` header, if it has one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token else None
