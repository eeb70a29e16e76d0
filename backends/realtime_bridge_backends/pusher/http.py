"""How Pusher's HTTP API is reached, and what it means when it refuses or does not answer."""

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
from pusher.http import Request, process_response
from yarl import URL

from realtime_bridge.errors import (
    BackendAuthError,
    BackendUnavailableError,
    PublishError,
    RateLimitedError,
)
from realtime_bridge.model.urls import is_loopback

CONNECT_SECONDS = 2.0
CALL_SECONDS = 5.0
CLOCK_SECONDS = 600
"""How far a call's timestamp may be from Pusher's clock."""


class Line:
    """One session for each event loop that uses it: connections are kept alive and shared."""

    def __init__(self) -> None:
        self._session: ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def session(self, host: str) -> ClientSession:
        """Return the session of the running loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            timeout = ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)
            self._session = ClientSession(timeout=timeout, trust_env=not is_loopback(host))
            self._loop = loop
        return self._session

    async def close(self) -> None:
        """Close the connections that are kept."""
        session, self._session = self._session, None
        if session:
            await session.close()


class SharedSession:
    """The SDK's HTTP backend, in the shape that it documents."""

    def __init__(self, client: Any, *, line: Line) -> None:
        self._client = client
        self._line = line

    async def send_request(self, request: Request) -> Any:
        """Send a signed request; a kept connection that had gone stale is tried once more.

        Raises:
            PublishError: what the SDK's errors and aiohttp's become, without the signed URL.

        """
        try:
            return await self._send(request)
        except (ServerDisconnectedError, ClientOSError) as error:
            if isinstance(error, ClientConnectorDNSError):
                raise self._unreachable(error) from None
        except (ClientError, TimeoutError) as error:
            raise self._unreachable(error) from None
        try:
            return await self._send(request)
        except (ClientError, TimeoutError) as error:
            raise self._unreachable(error) from None

    async def _send(self, request: Request) -> Any:
        session = self._line.session(self._client.host)
        async with session.request(
            request.method,
            URL(request.url, encoded=True),
            data=request.body or None,
            headers=request.headers,
            allow_redirects=False,
        ) as response:
            text = await response.text(errors="replace")
            if response.status in (200, 202):
                return process_response(response.status, text)
            raise refusal(response.status, self._scrubbed(text), response.headers)

    def _scrubbed(self, text: str) -> str:
        for hidden in (self._client.secret, self._client.key):
            text = text.replace(hidden, "…")
        return " ".join(text.split())[:200]

    def _unreachable(self, error: Exception) -> BackendUnavailableError:
        host = f"{self._client.host}:{self._client.port}"
        if isinstance(error, ClientConnectorDNSError):
            why = "no such host: is REALTIME_PUSHER_CLUSTER (or _HOST) right?"
        elif isinstance(error, TimeoutError):
            why = "no answer in time: is the network open to it?"
        else:
            why = f"{type(error).__name__}: is REALTIME_PUSHER_HOST right, and the network open?"
        return BackendUnavailableError(f"Pusher at {host} cannot be reached ({why})")


def refusal(status: int, said: str, headers: Mapping[str, str]) -> PublishError:
    """Return the error that an answer of the API is, with its cure."""
    answered = f"Pusher answered {status} ({said})"
    if status == HTTPStatus.FORBIDDEN and "quota" in said:
        return RateLimitedError(f"{answered}: wait until it is reset, or take a larger plan")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(f"{answered}: publish less often", retry_after=_seconds(headers))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BackendUnavailableError(f"{answered}: see status.pusher.com")
    if status == HTTPStatus.BAD_REQUEST and "cluster" in said:
        status = HTTPStatus.NOT_FOUND
    if status in _CREDENTIALS:
        return BackendAuthError(f"{answered}: {_CREDENTIALS[HTTPStatus(status)]}")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return PublishError(f"{answered}: publish less in one event")
    return PublishError(f"{answered}: is REALTIME_PUSHER_HOST a Pusher?")


def _seconds(headers: Mapping[str, str]) -> float | None:
    wait = headers.get("retry-after", "")
    return float(wait) if wait.isdigit() else None


_CREDENTIALS = {
    HTTPStatus.UNAUTHORIZED: "check REALTIME_PUSHER_KEY and _SECRET, and that this machine's clock "
    f"is right to within {CLOCK_SECONDS} s",
    HTTPStatus.FORBIDDEN: "enable the app in Pusher's dashboard",
    HTTPStatus.NOT_FOUND: "there is no such app here, check REALTIME_PUSHER_APP_ID and _CLUSTER",
}
