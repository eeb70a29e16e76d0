"""Requests to Pusher over kept connections."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import (
    ClientConnectorDNSError,
    ClientError,
    ClientOSError,
    ClientSession,
    ClientTimeout,
    ServerDisconnectedError,
)
from pusher.http import Request
from yarl import URL

from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.urls import is_loopback
from realtime_bridge_backends.pusher.errors import name_variables, read_answer
from realtime_bridge_backends.pusher.timing import PusherTiming


class PusherHTTP:
    """HTTP session whose connections all requests share.

    A session belongs to one event loop, so a request in another loop gets a new session.
    """

    def __init__(self, timing: PusherTiming) -> None:
        self._timing = timing
        self._session: ClientSession | None = None
        self._opening: AsyncGenerator[ClientSession] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: Request, client: Any) -> dict[str, Any]:
        """Send a signed request, and once more if a kept connection was stale.

        Raises:
            PublishError: Pusher refused, or cannot be reached; without the signed URL.

        """
        try:
            return await self._send(request, client)
        except (ServerDisconnectedError, ClientOSError) as error:
            # A kept connection was stale, unless the host is unknown. With a log, clients ignore
            # an event that Pusher received twice: they have its offset.
            if isinstance(error, ClientConnectorDNSError):
                raise _unreachable(client, error) from None
        except (ClientError, TimeoutError, ValueError) as error:
            raise _unreachable(client, error) from None
        try:
            return await self._send(request, client)
        except (ClientError, TimeoutError, ValueError) as error:
            raise _unreachable(client, error) from None

    async def close(self) -> None:
        """Close the session and its kept connections."""
        opening, self._opening, self._session = self._opening, None, None
        if opening:
            await opening.aclose()

    async def _send(self, request: Request, client: Any) -> dict[str, Any]:
        session = await self._session_of_loop(client.host)
        async with session.request(
            request.method,
            URL(request.url, encoded=True),  # the signature covers the URL as it is
            data=request.body or None,
            headers=request.headers,
            allow_redirects=False,  # a signed request must not reach another host
        ) as response:
            text = await response.text(errors="replace")
            for secret in (client.secret, client.key):
                text = text.replace(secret, "…")
            return read_answer(response.status, text, response.headers)

    async def _session_of_loop(self, host: str) -> ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            # As an asynchronous generator, which `asyncio.run` closes with its loop: functions
            # that publish without a context leave no session behind.
            self._opening, self._loop = self._open(host), loop
            self._session = await anext(self._opening)
        return self._session

    async def _open(self, host: str) -> AsyncGenerator[ClientSession]:
        timeout = ClientTimeout(
            total=self._timing.call_seconds, sock_connect=self._timing.connect_seconds
        )
        # trust_env: use the proxies of the environment, but not for this machine.
        async with ClientSession(timeout=timeout, trust_env=not is_loopback(host)) as session:
            yield session


def _unreachable(client: Any, error: Exception) -> BackendUnavailableError:
    host = f"{client.host}:{client.port}"
    if isinstance(error, ClientConnectorDNSError):
        reason = "no such host: check REALTIME_PUSHER_CLUSTER or REALTIME_PUSHER_HOST"
    elif isinstance(error, TimeoutError):
        reason = "no answer in time: check the network"
    else:
        reason = f"{type(error).__name__}: check REALTIME_PUSHER_HOST and the network"
    return BackendUnavailableError(f"Pusher at {host} cannot be reached ({name_variables(reason)})")
