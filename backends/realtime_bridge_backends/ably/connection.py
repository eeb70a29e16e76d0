"""Connection of a Python client to Ably, through the official SDK."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from ably import AblyException, AblyRealtime

from realtime_bridge.backend.provider_connection import (
    AccessDeniedError,
    Authorize,
    ConnectionLostError,
    ProviderConnection,
)
from realtime_bridge_backends.ably import logs

MAX_QUEUED = 10_000
"""Messages that may wait for the client. Beyond it the connection closes, and the client recovers
from the log."""

CLOSE_SECONDS = 1.0

_CLOSED_STATES = ("disconnected", "suspended", "failed", "closed")
"""The SDK's states without a connection. The client's state machine decides about reconnecting,
so the SDK's own retries are not used."""

_CAPABILITY_MISSING = 40160
_FORBIDDEN = 403


class AblyConnection(ProviderConnection):
    """Connection with a token for its channels alone.

    Args:
        options: the descriptor's options: Ably's address, and the prefix of channel names there.
        channels: the channels that the client will subscribe to.
        authorize: asks our bridge for tokens.

    """

    def __init__(
        self, options: Mapping[str, Any], channels: Sequence[str], authorize: Authorize
    ) -> None:
        self._options = options
        self._names = [self._name(channel) for channel in channels]
        self._authorize = authorize
        self._denied: AccessDeniedError | None = None
        self._frames: asyncio.Queue[str | None] = asyncio.Queue(MAX_QUEUED)
        self._client: AblyRealtime | None = None
        logs.install_filters()

    async def __aenter__(self) -> Self:
        self._client = self._create_client()
        try:
            await self._connect(self._client)
        except BaseException:
            await self._close()
            raise
        for state in _CLOSED_STATES:
            self._client.connection.on(state, lambda _: self._end())
        return self

    async def _connect(self, client: AblyRealtime) -> None:
        connected: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for state in ("connected", *_CLOSED_STATES):
            client.connection.on(state, lambda change: _settle(connected, change))
        client.connect()
        if not await connected:
            raise self._denied or ConnectionLostError("Ably cannot be reached")

    def _create_client(self) -> AblyRealtime:
        host, port = str(self._options["endpoint"]), self._options.get("port")
        return AblyRealtime(
            auth_callback=self._request_token,
            # The SDK's realtime client ignores its port options: the port goes into the name.
            endpoint=f"{host}:{port}" if port else host,
            tls=bool(self._options["tls"]),
            # With fallback hosts, the SDK first makes a blocking call to check the network.
            fallback_hosts=[],
            auto_connect=False,
            queue_messages=False,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.connection.off()
            with suppress(TimeoutError, AblyException):
                await asyncio.wait_for(client.close(), CLOSE_SECONDS)

    async def subscribe(self, channel: str) -> None:
        """Attach to a channel."""
        try:
            await self._open_client().channels.get(self._name(channel)).subscribe(self._receive)
        except AblyException as error:
            if error.code == _CAPABILITY_MISSING:
                message = f"{channel}: this user may not subscribe to it"
                raise AccessDeniedError(_FORBIDDEN, message) from error
            # Without the cause: its message may hold a token.
            raise ConnectionLostError(
                f"Ably did not attach {channel}: {logs.redact_tokens(str(error))}"
            ) from None

    async def ping(self) -> None:
        """Wait for Ably's answer to a heartbeat."""
        try:
            await self._open_client().connection.ping()
        except AblyException as error:
            raise ConnectionLostError(
                f"Ably did not answer: {logs.redact_tokens(str(error))}"
            ) from None

    async def __aiter__(self) -> AsyncIterator[str]:
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def _request_token(self, _: Any) -> Mapping[str, Any]:
        try:
            return await self._authorize({"channels": " ".join(self._names)})
        except AccessDeniedError as denied:
            self._denied = denied  # the SDK replaces it with an error of its own
            raise

    def _open_client(self) -> AblyRealtime:
        if self._client is None:
            raise ConnectionLostError("the connection to Ably is closed")
        return self._client

    def _receive(self, message: Any) -> None:
        try:
            self._frames.put_nowait(str(message.data))
        except asyncio.QueueFull:
            self._end()

    def _end(self) -> None:
        while self._frames.full():  # make room for the end marker
            self._frames.get_nowait()
        self._frames.put_nowait(None)

    def _name(self, channel: str) -> str:
        return f"{self._options['channel_prefix']}{channel}"


def _settle(connected: "asyncio.Future[bool]", change: Any) -> None:
    if not connected.done():
        connected.set_result(change.current == "connected")
