"""Descriptors: where a client connects, as which user, and with which promise."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin, urlsplit

from realtime_bridge.client.bridge_http import OK, BridgeHTTP, HTTPResult
from realtime_bridge.errors import RealtimeError
from realtime_bridge.protocol.client.commands import Terms
from realtime_bridge.protocol.wire.messages import ProtocolError

Token = str | Callable[[], Awaitable[str]]
"""Token, or an async function that returns a fresh one."""

ROUTES = {"websocket": "ws"}
"""Usual routes, relative to the URL of `connect`, where they differ from the URL's name."""

CHANNEL_LIMIT = 128
"""Channels that each server takes in a poll (docs/specification.md §6.4), without a descriptor."""

MAX_SECONDS = 31_536_000
"""Longest time that a server can announce, a year: a larger number would overflow a timer."""

MIN_AGE = 10_000
"""Shortest age of a connection that a server can announce, in milliseconds; a shorter one would
make the client connect without a pause."""

_logger = logging.getLogger("realtime_bridge.client")


class TokenUnavailableError(Exception):
    """The application has no token now; a later attempt may succeed."""


class RouteMissingError(Exception):
    """The descriptor has no URL of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Answer of the server to `connect`.

    Args:
        token: Token for connections and polls.
        provider: Name of the provider that delivers; `websocket` is the server itself.
        options: Settings of the provider's SDK.
        logged: Whether the server has a log, and with it the promise of delivery.
        urls: URLs of the routes, relative to that of `connect`.
        control: Channel on which the server announces that this user's access was revoked, at a
            provider.
        terms: Part that the state machine uses.
        channel_limit: Largest number of channels on one connection, and in one poll.

    """

    token: str | None
    provider: str
    options: Mapping[str, Any]
    logged: bool
    urls: Mapping[str, Any]
    control: str | None
    terms: Terms
    channel_limit: int

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "Descriptor":
        """Read the answer to `connect`.

        Raises:
            ProtocolError: it has no `urls`, so another server answered.

        """
        names = ("urls", "token", "provider", "options")
        urls, token, provider, options = (fields.get(name) for name in names)
        if not isinstance(urls, dict):
            raise ProtocolError("the answer to connect is not a descriptor; check the url")
        return cls(
            token=token if isinstance(token, str) else None,
            provider=provider if isinstance(provider, str) else "websocket",
            options=options if isinstance(options, dict) else {},
            logged=fields.get("guarantee") != "signal",
            urls=urls,
            control=str(fields["control"]) if fields.get("control") else None,
            terms=_terms(fields),
            channel_limit=_channel_limit(fields.get("limits")),
        )


class DescriptorStore:
    """The last descriptor, and the requests for the next.

    Args:
        url: URL of the bridge.
        client: Id of this client.
        token: Token of the application.
        http: HTTP session.

    """

    def __init__(self, url: str, *, client: str, token: Token, http: BridgeHTTP) -> None:
        self.last: Descriptor | None = None
        self.channel_limit: int = CHANNEL_LIMIT
        """Largest number of channels on one connection, and in one poll."""
        self._base = _with_path(url, "/connect")
        self._client = client
        self._credentials = token
        self._http = http
        self._expires = 0.0

    @property
    def usable(self) -> Descriptor | None:
        """Last descriptor, while it has a token that has not expired."""
        return self.last if self.last and self.last.token and _now() < self._expires else None

    def url(self, name: str) -> str:
        """Return the URL of a route; before the first descriptor, its usual URL.

        Raises:
            RouteMissingError: the server does not offer the route.

        """
        relative = self.last.urls.get(name) if self.last else ROUTES.get(name, name)
        if not isinstance(relative, str):
            raise RouteMissingError(f"the server does not offer {name}")
        try:
            return _resolve(self._base, relative)
        except ValueError as error:
            raise RouteMissingError(f"the server's URL of {name} is not valid: {error}") from error

    async def token(self) -> str:
        """Return the token for requests: the descriptor's, else the application's.

        Raises:
            TokenUnavailableError: the application has none now.

        """
        if (descriptor := self.usable) and descriptor.token:
            return descriptor.token
        return await self._application_token()

    async def fetch(self) -> HTTPResult:
        """Request a descriptor; after a status of 200, `last` is that descriptor."""
        try:
            token = await self._application_token()
        except TokenUnavailableError as error:
            return HTTPResult(message=str(error))
        result = await self._http.post(self._base, {"client": self._client}, token)
        if result.status != OK:
            return result
        try:
            self.last = Descriptor.read(result.fields or {})
        except ProtocolError as error:
            _logger.warning("invalid descriptor: url=%s error=%r", self._base, error)
            return HTTPResult.foreign(OK)
        self.channel_limit = self.last.channel_limit
        self._expires = _now() + self.last.terms.expires / 1_000
        return result

    async def _application_token(self) -> str:
        if isinstance(self._credentials, str):
            return self._credentials
        try:
            return await self._credentials()
        except RealtimeError:
            raise
        except Exception as error:
            # The application's function may raise anything: it has no token now, so try later.
            _logger.warning("no token from the application: error=%r", error)
            raise TokenUnavailableError(f"the application's token() failed: {error}") from error


@lru_cache(maxsize=128)  # each request needs the URL of its route
def _resolve(base: str, relative: str) -> str:
    """Return the URL of a route, with the query of its base unless it has its own."""
    url = urlsplit(urljoin(base, relative))
    return (url if url.query else url._replace(query=urlsplit(base).query)).geturl()


def _channel_limit(limits: object) -> int:
    channels = limits.get("channels") if isinstance(limits, dict) else None
    return channels if type(channels) is int and channels >= 1 else CHANNEL_LIMIT


def _with_path(url: str, path: str) -> str:
    """Return a URL with a path behind its own, and with its query."""
    parts = urlsplit(url)
    return parts._replace(path=parts.path.rstrip("/") + path, fragment="").geturl()


def _terms(fields: Mapping[str, Any]) -> Terms:
    generation = fields.get("generation")
    max_age = milliseconds(fields.get("max_age"), -1)
    return Terms(
        mode="polling" if fields.get("mode") == "polling" else "realtime",
        heartbeat=milliseconds(fields.get("heartbeat"), 10_000),
        max_age=None if max_age < 0 else max(MIN_AGE, max_age),
        generation=generation if type(generation) is int else 0,
        expires=milliseconds(fields.get("expires"), 600_000),
    )


def milliseconds(seconds: object, otherwise: int) -> int:
    """Convert a server's seconds to milliseconds; `otherwise` replaces an invalid value."""
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= 0:
        return round(min(seconds, MAX_SECONDS) * 1_000)
    return otherwise


def _now() -> float:
    return time.monotonic()
