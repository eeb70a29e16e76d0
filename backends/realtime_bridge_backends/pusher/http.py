"""HTTP client for the Pusher SDK, and conversion of Pusher's errors into ours."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import (
    ClientConnectorDNSError,
    ClientError,
    ClientOSError,
    ClientSession,
    ClientTimeout,
    ServerDisconnectedError,
)
from msgspec import Struct
from pusher.http import Request, process_response
from yarl import URL

from realtime_bridge.errors import (
    BackendAuthError,
    BackendUnavailableError,
    PublishError,
    RateLimitedError,
)
from realtime_bridge.model.urls import is_loopback

MAX_SKEW_SECONDS = 600
"""The largest difference that Pusher allows between a request's timestamp and its clock."""

ERROR_TEXT = 200
"""Longest text of Pusher's in an error, in characters."""


class PusherTiming(Struct, frozen=True, kw_only=True):
    """Time limits of requests, in seconds.

    Args:
        connect_seconds: to open a connection.
        call_seconds: for the whole request.

    """

    connect_seconds: float = 2.0
    call_seconds: float = 5.0


class SessionHolder:
    """Holder of one HTTP session, whose connections all requests share.

    A session belongs to one event loop, so a request in another loop gets a new session.
    """

    def __init__(self, timing: PusherTiming) -> None:
        self._timing = timing
        self._session: ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def session(self, host: str) -> ClientSession:
        """Return the session of the running loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            timeout = ClientTimeout(
                total=self._timing.call_seconds, sock_connect=self._timing.connect_seconds
            )
            # trust_env: use the proxies of the environment, but not for this machine.
            self._session = ClientSession(timeout=timeout, trust_env=not is_loopback(host))
            self._loop = loop
        return self._session

    async def close(self) -> None:
        """Close the session and its kept connections."""
        session, self._session = self._session, None
        if session:
            await session.close()


class HTTPAdapter:
    """Adapter that the SDK takes as its `backend`: it sends requests over the shared session."""

    def __init__(self, client: Any, *, sessions: SessionHolder) -> None:
        self._client = client
        self._sessions = sessions

    async def send_request(self, request: Request) -> Any:
        """Send a signed request, and once more if a kept connection was stale.

        Raises:
            PublishError: for any error of the SDK or of aiohttp, without the signed URL.

        """
        try:
            return await self._send(request)
        except (ServerDisconnectedError, ClientOSError) as error:
            # A kept connection was stale, unless the host is unknown. With a log, clients ignore
            # an event that Pusher received twice: they have its offset.
            if isinstance(error, ClientConnectorDNSError):
                raise self._unreachable(error) from None
        except (ClientError, TimeoutError) as error:
            raise self._unreachable(error) from None
        try:
            return await self._send(request)
        except (ClientError, TimeoutError) as error:
            raise self._unreachable(error) from None

    async def _send(self, request: Request) -> Any:
        session = self._sessions.session(self._client.host)
        async with session.request(
            request.method,
            URL(request.url, encoded=True),  # the signature covers the URL as it is
            data=request.body or None,
            headers=request.headers,
            allow_redirects=False,  # a signed request must not reach another host
        ) as response:
            text = await response.text(errors="replace")
            if response.status in (200, 202):
                return process_response(response.status, text)
            raise to_publish_error(response.status, self._redact(text), response.headers)

    def _redact(self, text: str) -> str:
        for secret in (self._client.secret, self._client.key):
            text = text.replace(secret, "…")
        return " ".join(text.split())[:ERROR_TEXT]

    def _unreachable(self, error: Exception) -> BackendUnavailableError:
        host = f"{self._client.host}:{self._client.port}"
        if isinstance(error, ClientConnectorDNSError):
            reason = "no such host: check REALTIME_PUSHER_CLUSTER or REALTIME_PUSHER_HOST"
        elif isinstance(error, TimeoutError):
            reason = "no answer in time: check the network"
        else:
            reason = f"{type(error).__name__}: check REALTIME_PUSHER_HOST and the network"
        return BackendUnavailableError(f"Pusher at {host} cannot be reached ({reason})")


def to_publish_error(status: int, message: str, headers: Mapping[str, str]) -> PublishError:
    """Return the error to raise for an error response, with one thing to do."""
    response = f"Pusher answered {status} ({message})"
    if status == HTTPStatus.FORBIDDEN and "quota" in message:
        return RateLimitedError(f"{response}: wait until the quota is reset, or use a larger plan")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after = _retry_after(headers)
        return RateLimitedError(f"{response}: publish less often", retry_after=retry_after)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BackendUnavailableError(f"{response}: see status.pusher.com")
    if status == HTTPStatus.BAD_REQUEST and "cluster" in message:
        status = HTTPStatus.NOT_FOUND  # an app of another cluster is a 400
    if status in _CREDENTIAL_HINTS:
        return BackendAuthError(f"{response}: {_CREDENTIAL_HINTS[HTTPStatus(status)]}")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return PublishError(f"{response}: publish less in one event")
    return PublishError(f"{response}: check that REALTIME_PUSHER_HOST is a Pusher server")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.isdigit() else None


_CREDENTIAL_HINTS = {
    HTTPStatus.UNAUTHORIZED: "check REALTIME_PUSHER_KEY and REALTIME_PUSHER_SECRET, and this "
    f"machine's clock: Pusher allows {MAX_SKEW_SECONDS} s",
    HTTPStatus.FORBIDDEN: "enable the app in Pusher's dashboard",
    HTTPStatus.NOT_FOUND: "no such app: check REALTIME_PUSHER_APP_ID and REALTIME_PUSHER_CLUSTER",
}
