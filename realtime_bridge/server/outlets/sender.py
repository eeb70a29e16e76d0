"""HTTP requests of outlets, which reach public addresses alone."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp

from realtime_bridge import __version__
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.addresses import is_public
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.outlets.webhook import Webhook
from realtime_bridge.server.outlets.outlet import Outlet

READ_BYTES = 16 * 1024
"""Bytes of an answer that are read, so that its connection can be used again."""


class DeliveryError(BackendUnavailableError):
    """Webhook that its target did not accept.

    Args:
        message: the failure.
        retry_after: seconds that the target asked to wait.

    """

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AddressRefusedError(OSError):
    """Address that no webhook may reach."""


class SignedRequest(NamedTuple):
    """Body and headers of one request."""

    body: bytes
    headers: Mapping[str, str]


Sign = Callable[[Event], SignedRequest]
"""Function that returns the request of an event, signed now."""


def standard_webhook(keys: Sequence[bytes]) -> Sign:
    """Return the function that signs in the form of Standard Webhooks with these keys."""

    def sign(event: Event) -> SignedRequest:
        webhook = Webhook.of(event)
        return SignedRequest(webhook.body, webhook.headers(keys, time.time()))

    return sign


class WebhookSender:
    """Sender of signed webhooks; an async context manager.

    Args:
        sign: returns the request of an event.
        seconds: the longest time of a request.
        private: whether private addresses may be reached.

    """

    def __init__(self, sign: Sign, *, seconds: float, private: bool) -> None:
        self._sign = sign
        self._seconds = seconds
        self._private = private
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # The socket is made for one address of those that the name has now: a check of the name
        # before the request would miss a change of it.
        factory = None if self._private else _public_socket
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=factory),
            headers={"user-agent": f"realtime-bridge/{__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(),
            # Answers are not used. A small compressed one could fill the memory, and a damaged one
            # would count as a failure.
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session:
            await self._session.close()

    async def send(self, outlet: Outlet, event: Event) -> None:
        """Send an event.

        Raises:
            DeliveryError: the target did not answer with 2xx in time; sending again is safe.

        """
        assert self._session
        body, headers = self._sign(event)
        try:
            async with asyncio.timeout(self._seconds):
                # A redirect would lead to a URL that the application did not configure.
                request = self._session.post(
                    outlet.url, data=body, headers=headers, allow_redirects=False
                )
                async with request as response:
                    await response.content.read(READ_BYTES)
        except TimeoutError:
            raise DeliveryError(
                f"{outlet.host} did not answer within {self._seconds:g} s: check that it runs"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            # The library's own error has the whole URL.
            cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            raise DeliveryError(
                f"{outlet.host} cannot be reached: {_cause(cause)}. Check that it runs"
            ) from None
        if not 200 <= response.status < 300:  # noqa: PLR2004 -- HTTP
            raise DeliveryError(
                f"{outlet.host} answered {response.status}: check its own log, "
                "and the secret there",
                retry_after=_seconds(response.headers.get("retry-after", "")),
            )


def _cause(error: BaseException) -> str:
    is_own = isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError)
    return str(error) if is_own else type(error).__name__


def _seconds(text: str) -> float:
    """Return the seconds of a `Retry-After`; 0 for a date, since the other clock may be wrong."""
    return float(text) if text.isdecimal() else 0.0


def _public_socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, target = address
    if not is_public(target[0]):
        raise AddressRefusedError(
            f"{target[0]} is no public address; for a target in your own network set "
            "REALTIME_OUTLET_PRIVATE=on"
        )
    return socket.socket(family=family, type=kind, proto=protocol)
