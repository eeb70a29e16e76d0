"""A Python client's connection to Ably, by the official SDK."""

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

WAITING = 10_000
"""Messages that may wait for us: beyond that the connection is given up, and the log asked."""

CLOSE_SECONDS = 1.0

_ENDINGS = ("disconnected", "suspended", "failed", "closed")
"""States in which we are connected no more: when to come back is the machine's to say."""

_NOT_COVERED = 40160
_FORBIDDEN = 403


class AblyTransport(ProviderConnection):
    """Connects with a token for just its channels.

    Args:
        options: the descriptor's: where Ably is, and how our channels are called there.
        channels: what will be subscribed.
        permit: asks our bridge for tokens.

    """

    def __init__(
        self, options: Mapping[str, Any], channels: Sequence[str], permit: Authorize
    ) -> None:
        self._options = options
        self._names = [self._name(channel) for channel in channels]
        self._permit = permit
        self._refused: AccessDeniedError | None = None
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue(WAITING)
        self._ably: AblyRealtime | None = None
        logs.install()

    async def __aenter__(self) -> Self:
        self._ably = self._client()
        try:
            await self._connect(self._ably)
        except BaseException:
            await self._close()
            raise
        for state in _ENDINGS:
            self._ably.connection.on(state, lambda _: self._end())
        return self

    async def _connect(self, ably: AblyRealtime) -> None:
        connected: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for state in ("connected", *_ENDINGS):
            ably.connection.on(state, lambda change: _settle(connected, change))
        ably.connect()
        if not await connected:
            raise self._refused or ConnectionLostError("Ably cannot be reached")

    def _client(self) -> AblyRealtime:
        place, port = str(self._options["endpoint"]), self._options.get("port")
        return AblyRealtime(
            auth_callback=self._token,
            # The SDK goes to port 80 or 443 whatever port it is given, unless it is in the name.
            endpoint=f"{place}:{port}" if port else place,
            tls=bool(self._options["tls"]),
            # Before it tries another host it asks, in a blocking call, whether there is a network.
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
        ably, self._ably = self._ably, None
        if ably is not None:
            ably.connection.off()
            with suppress(TimeoutError, AblyException):
                await asyncio.wait_for(ably.close(), CLOSE_SECONDS)

    async def subscribe(self, channel: str) -> None:
        """Attach the channel."""
        try:
            there = self._client_or_lost().channels.get(self._name(channel))
            await there.subscribe(self._take)
        except AblyException as error:
            if error.code == _NOT_COVERED:
                message = f"{channel}: this user may not listen to it"
                raise AccessDeniedError(_FORBIDDEN, message) from error
            raise ConnectionLostError(
                f"Ably did not attach {channel}: {logs.scrubbed(str(error))}"
            ) from None

    async def ping(self) -> None:
        """Have Ably answer a heartbeat."""
        try:
            await self._client_or_lost().connection.ping()
        except AblyException as error:
            raise ConnectionLostError(f"Ably did not answer: {logs.scrubbed(str(error))}") from None

    async def __aiter__(self) -> AsyncIterator[str]:
        while (text := await self._waiting.get()) is not None:
            yield text

    async def _token(self, _: Any) -> Mapping[str, Any]:
        try:
            return await self._permit({"channels": " ".join(self._names)})
        except AccessDeniedError as refused:
            self._refused = refused
            raise

    def _client_or_lost(self) -> AblyRealtime:
        if self._ably is None:
            raise ConnectionLostError("the connection to Ably is closed")
        return self._ably

    def _take(self, message: Any) -> None:
        try:
            self._waiting.put_nowait(str(message.data))
        except asyncio.QueueFull:
            self._end()

    def _end(self) -> None:
        while self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)

    def _name(self, channel: str) -> str:
        return f"{self._options['channel_prefix']}{channel}"


def _settle(connected: "asyncio.Future[bool]", change: Any) -> None:
    if not connected.done():
        connected.set_result(change.current == "connected")
