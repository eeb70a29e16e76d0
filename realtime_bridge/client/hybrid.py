"""The client that always has a way: a WebSocket, and polling for as long as there is none."""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from realtime_bridge.client.poll import PollTransport
from realtime_bridge.client.stream import ChannelReset, Stream, Token, Unavailable
from realtime_bridge.client.websocket import WebSocketTransport
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.event import Event, Position
from realtime_bridge.protocol import backoff

SLOW_SECONDS = 2.5
"""How long the first connection may take before polling begins beside it."""

STABLE_SECONDS = 10.0
"""How long a connection has to last for the back-off to begin anew."""

_ADDRESS = re.compile(r"(https?|wss?)://[^/?#\s]+")

T = TypeVar("T")
Transport = Literal["auto", "websocket", "poll"]

_logger = logging.getLogger("realtime_bridge.client")


class HybridClient:
    """Listens to channels of the bridge at `url`: an async context manager, and iterator.

    It yields each event once and in order, and a `ChannelReset` where there is a hole. It connects,
    recovers and falls back by itself until the context ends.

    Args:
        url: where the bridge is mounted, such as `https://example.com/realtime`.
        channels: their names; or each with the position to go on from, None for now.
        token: a token, or an async function that gets a fresh one.
        transport: `auto` polls while there is no WebSocket; the others are that way alone.

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
    ) -> None:
        if not _ADDRESS.match(url):
            raise ConfigurationError("The url is an address like https://example.com/realtime")
        url = url.rstrip("/")
        named = channels if isinstance(channels, Mapping) else dict.fromkeys(channels)
        self._stream = Stream(named, token)
        self._websocket = WebSocketTransport(url, self._stream)
        self._poll = PollTransport(url, self._stream)
        self._transport = transport
        self._live_since = float("inf")
        self._slow: asyncio.TimerHandle | None = None
        self._fallback = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def client(self) -> str:
        """The id of this client: events published with it as their `source` are skipped here."""
        return self._stream.client

    @property
    def positions(self) -> Mapping[str, Position | None]:
        """Where each channel stands: pass it to another client to go on from there."""
        return self._stream.taken

    async def subscribed(self) -> tuple[str, Position]:
        """Wait until a channel is subscribed for the first time, and return from where.

        Raises:
            DeniedError: the server refuses us for good.

        """
        return await self._or_failure(self._stream.subscribed.get())

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
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

    async def _run(self) -> None:
        try:
            async with self._poll, asyncio.TaskGroup() as tasks:
                if self._transport != "poll":
                    tasks.create_task(self._keep_connected())
                if self._transport != "websocket":
                    tasks.create_task(self._keep_polling())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _keep_connected(self) -> None:
        failures = 0
        clock = asyncio.get_running_loop().time
        self._slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._fallback.set)
        while True:
            self._live_since = float("inf")
            try:
                await self._websocket.run(self._on_live)
            except Unavailable as error:
                _logger.info("%s", error)
            self._fallback.set()
            failures = 0 if clock() - self._live_since >= STABLE_SECONDS else failures
            await asyncio.sleep(backoff.delay(failures, random.random()))  # noqa: S311
            failures += 1

    def _on_live(self) -> None:
        assert self._slow
        self._slow.cancel()
        self._live_since = asyncio.get_running_loop().time()
        self._fallback.clear()

    async def _keep_polling(self) -> None:
        failures = 0
        if self._transport == "poll":
            self._fallback.set()
        while True:
            await self._fallback.wait()
            try:
                wait = await self._poll.poll()
                failures = 0
            except Unavailable as error:
                _logger.info("%s", error)
                self._stream.interrupted()
                wait = backoff.delay(failures, random.random())  # noqa: S311
                failures += 1
            await asyncio.sleep(wait)

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
