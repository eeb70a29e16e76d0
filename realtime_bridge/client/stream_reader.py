"""Reader of one stream, for Python programs."""

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from realtime_bridge.client.descriptor import Token
from realtime_bridge.client.hybrid import HybridClient
from realtime_bridge.client.loaded_state import contradicts, includes
from realtime_bridge.client.subscription_set import Item
from realtime_bridge.client.transport_manager import TransportName
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.streams.reader_state import ReaderState
from realtime_bridge.protocol.streams.snapshot import StreamSnapshot, stream_key


class StreamRestarted(RealtimeError):  # noqa: N818 -- no failure: the items begin again
    """Another run writes the stream, from its first item on."""


class StreamReader:
    """Items of one stream: an async context manager, and an async iterator.

    It yields the items so far and each later one, once and in order, and ends with the stream. Then
    `snapshot` has the state, and the error of a failure. A stream without an event is waited for,
    and so is a lost one.

    Args:
        client: Client of the channel alone, which the reader starts and stops.
        channel: Name of the channel.
        stream: Id of the stream.
        restarts: Whether the items of another run follow those of the one before.

    """

    def __init__(
        self, client: HybridClient, channel: str, stream: str, *, restarts: bool = False
    ) -> None:
        self._client = client
        self._channel, self._key = channel, stream_key(stream)
        self._restarts = restarts
        self._state = ReaderState()
        self._items: deque[Any] = deque()
        self._received: AsyncIterator[Item] | None = None
        self._is_subscribed = False
        self._top: Position | None = None
        """Position of the loaded state; None while it is missing."""

    @property
    def snapshot(self) -> StreamSnapshot:
        """State of the stream; it may have items that the iterator yields later."""
        return self._state.snapshot

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Return the next item.

        Raises:
            StreamRestarted: another run began. The next item is its first one.
            DeniedError: the server denies the channel, or this client.
            ConfigurationError: the server keeps no streams.

        """
        while not self._items:
            if self._state.is_over:
                raise StopAsyncIteration
            await self._advance()
            self._items.extend(self._state.take())
            if self._state.take_restart() and not self._restarts:
                raise StreamRestarted(
                    f"Another run of {self._key} began: discard its items so far, and iterate again"
                )
        return self._items.popleft()

    async def _advance(self) -> None:
        """Load the state, or wait for one item of the channel."""
        if not self._is_subscribed:
            await self._client.wait_subscribed()
            self._is_subscribed = True
        if self._top is None:
            page = await self._client.read_key(self._channel, self._key)
            self._top = page.top
            self._state.load(page.events)
            return
        item = await self._next()
        if not isinstance(item, Event) or contradicts(self._top, item):
            self._top = None
        elif item.key == self._key and not includes(self._top, item):
            was_trimmed = self._state.snapshot.trimmed
            self._state.handle(item)
            if self._state.snapshot.trimmed and not was_trimmed:
                self._top = None  # the log may have what did not arrive

    async def _next(self) -> Item:
        self._received = self._received or aiter(self._client)
        try:
            return await anext(self._received)
        except BaseException:
            # A cancelled generator has ended: the next call needs another one.
            self._received = None
            raise


def open_stream(
    url: str,
    channel: str,
    id: str,  # noqa: A002 -- as for `Broadcaster.stream`
    *,
    token: Token,
    transport: TransportName = "auto",
    restarts: bool = False,
) -> StreamReader:
    """Return the reader of a stream, an async context manager and an async iterator.

    Args:
        url: URL of the bridge, such as `https://example.com/realtime`.
        channel: Name of the channel.
        id: Id of the stream.
        token: Token, or an async function that returns a fresh one.
        transport: As for `HybridClient`.
        restarts: Whether the items of another run follow those of the one before. By default the
            iterator raises `StreamRestarted` between them.

    Raises:
        ConfigurationError: the url is invalid.

    """
    client = HybridClient(url, [channel], token=token, transport=transport)
    return StreamReader(client, channel, id, restarts=restarts)
