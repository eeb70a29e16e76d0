"""The client that always has a way: a WebSocket, and polling for as long as there is none."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from realtime_bridge.client.runner import ClientRunner, Transport
from realtime_bridge.client.subscription_set import ChannelReset, SubscriptionSet, Token
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.commands import Options
from realtime_bridge.protocol.client.status import Status

_ADDRESS = re.compile(r"(https?|wss?)://[^/?#\s]+")

T = TypeVar("T")


class HybridClient:
    """Listens to channels of the bridge at `url`: an async context manager, and iterator.

    It yields each event once and in order, and a `ChannelReset` where there is a hole. It connects,
    recovers and falls back by itself until the context ends.

    Args:
        url: where the bridge is mounted, such as `https://example.com/realtime`.
        channels: their names; or each with the position to go on from, None for now.
        token: a token, or an async function that gets a fresh one.
        transport: `auto` polls while there is no WebSocket; the others are that way alone.
        options: intervals and limits, in milliseconds.
        on_status: called with what to show people, whenever that changes.

    Raises:
        ConfigurationError: the url is no address.

    """

    def __init__(
        self,
        url: str,
        channels: Iterable[str] | Mapping[str, Position | None],
        *,
        token: Token,
        transport: Transport = "auto",
        options: Options | None = None,
        on_status: Callable[[Status], None] | None = None,
    ) -> None:
        if not _ADDRESS.match(url):
            raise ConfigurationError("The url is an address like https://example.com/realtime")
        url = url.rstrip("/")
        named = channels if isinstance(channels, Mapping) else dict.fromkeys(channels)
        self._stream = SubscriptionSet(named, token)
        self._driver = ClientRunner(
            url.replace("ws", "http", 1) if url.startswith("ws") else url,
            self._stream,
            transport=transport,
            options=replace(options or Options(), push=transport != "poll"),
            on_status=on_status,
        )
        self._running: asyncio.Task[None] | None = None

    @property
    def client(self) -> str:
        """The id of this client: events published with it as their `source` are skipped here."""
        return self._stream.client

    @property
    def positions(self) -> Mapping[str, Position | None]:
        """Where each channel stands: pass it to another client to go on from there."""
        return self._stream.taken

    @property
    def status(self) -> Status:
        """What to show people: a kind, a word, and a reason."""
        return self._driver.status

    async def subscribed(self) -> tuple[str, Position]:
        """Wait until a channel is subscribed for the first time, and return from where.

        Raises:
            DeniedError: the server refuses us for good.

        """
        return await self._or_failure(self._stream.subscribed.get())

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._driver.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._running
        self._running.cancel()
        await asyncio.wait([self._running])

    async def __aiter__(self) -> AsyncIterator[Event | ChannelReset]:
        """Yield what arrives.

        Raises:
            DeniedError: the server refuses us for good.

        """
        while True:
            while (item := self._stream.take()) is None:
                await self._or_failure(self._stream.arrived())
            yield item

    async def _or_failure(self, wanted: Coroutine[Any, Any, T]) -> T:
        """Return what is wanted, unless this client fails for good first."""
        assert self._running, "use the client as a context manager"
        getting = asyncio.ensure_future(wanted)
        try:
            await asyncio.wait({getting, self._running}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                self._running.result()
            return await getting
        finally:
            getting.cancel()
