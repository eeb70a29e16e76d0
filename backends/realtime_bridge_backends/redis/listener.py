"""Feed of Redis: events published on the pub/sub channels of the log's channels."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress

from realtime_bridge.backend.reconnecting import ReconnectingListener
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.backend.unreadable import UNREADABLE, UnreadableEvents
from realtime_bridge.errors import PublishError
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.wire.stored_messages import held_event
from realtime_bridge_backends.redis.client_factory import Client, close_client
from realtime_bridge_backends.redis.errors import to_publish_error
from realtime_bridge_backends.redis.pubsub_pool import PubSubPool
from realtime_bridge_backends.redis.timing import RedisTiming

LENGTH_DIGITS = 12
"""The most characters of an event's length and its colon."""


def pubsub_channel(prefix: str, channel: str) -> str:
    """Return the pub/sub channel of a channel; on a Cluster both have the same slot."""
    return f"{prefix}:{{{channel}}}"


class RedisListener(ReconnectingListener):
    """Listener on published events. When one connection is lost, all are opened again.

    Args:
        create_client: returns a client of the servers to listen to.
        prefix: the beginning of the pub/sub channels.
        server: the server's name, for messages.
        timing: time limits.
        unreadable: counts the events that cannot be read.

    """

    def __init__(
        self,
        create_client: Callable[[], Client],
        prefix: str,
        *,
        server: str,
        timing: RedisTiming,
        unreadable: UnreadableEvents,
    ) -> None:
        super().__init__()
        self._create_client = create_client
        self._prefix = prefix
        self._server = server
        self._timing = timing
        self._channels: set[str] = set()
        self._pool: PubSubPool | None = None
        self._unreadable = unreadable

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe to channels, and wait until Redis has confirmed it.

        Raises:
            PublishError: Redis did not confirm in time.

        """
        new = set(channels) - self._channels
        self._channels |= new  # at once: a reconnection meanwhile subscribes them too
        try:
            async with asyncio.timeout(self._timing.subscribe_seconds):
                await self._connected.wait()
                assert self._pool
                await self._pool.subscribe(self._pubsub_channels(new))
        except Exception as error:
            self._channels -= new
            raise to_publish_error(error, self._server) from error

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe from channels."""
        old = self._channels.intersection(channels)
        self._channels -= old
        if self._pool:
            # A failure means a lost connection: the next one does not subscribe them.
            with suppress(Exception):
                async with asyncio.timeout(self._timing.subscribe_seconds):
                    await self._pool.unsubscribe(self._pubsub_channels(old))

    async def _listen_until_lost(self) -> None:
        try:
            async with self._client() as client, Supervisor() as tasks:
                pool = PubSubPool(client, tasks, self._receive, timing=self._timing)
                async with asyncio.timeout(self._timing.subscribe_seconds):
                    await pool.open()
                # Subscribe before `_on_connected`: after it, no event may be missed.
                async with asyncio.timeout(self._timing.subscribe_seconds):
                    await pool.subscribe(self._pubsub_channels(self._channels))
                self._pool = pool
                self._on_connected()
                await pool.lost
        finally:
            self._pool = None

    def _to_publish_error(self, error: Exception) -> PublishError:
        return to_publish_error(error, self._server)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Client]:
        client = self._create_client()
        try:
            yield client
        finally:
            await close_client(client)

    def _pubsub_channels(self, channels: Iterable[str]) -> list[str]:
        return [pubsub_channel(self._prefix, channel) for channel in channels]

    def _receive(self, name: bytes, payload: bytes) -> None:
        """Pass on the events of a message; one that cannot be read is a gap of its channel."""
        channel = name.decode()[len(self._prefix) + 2 : -1]
        try:
            if payload.startswith(b"{"):  # those of the log have their length first
                self.on_ephemeral(EphemeralEvent.decode(payload))
            else:
                self._queue.put(list(_events(channel, payload)))
        except UNREADABLE as error:
            self._unreadable.skip(channel, error)
            self._queue.mark_channel_gap(channel)


def _events(channel: str, payload: bytes) -> Iterator[Event]:
    """Yield the events of a message: each has its length in bytes before it, `LENGTH:EVENT`.

    Raises:
        ValueError: a part is malformed, or belongs to another channel.

    """
    start = 0
    while start < len(payload):
        length, colon, _ = payload[start : start + LENGTH_DIGITS].partition(b":")
        if not colon or not length.isdigit():
            raise ValueError("an event has no length before it")
        start += len(length) + 1
        end = start + int(length)
        if end > len(payload):
            raise ValueError("the message is shorter than the length in it")
        event = held_event(payload[start:end])
        if event.channel != channel:
            raise ValueError(f"the event is of another channel, {event.channel[:140]!r}")
        yield event
        start = end
