"""The feed: one subscription connection, or one for each node of a Cluster that has a channel."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from redis.exceptions import RedisError

from realtime_bridge.backend.reconnecting import ReconnectingListener
from realtime_bridge.errors import PublishError
from realtime_bridge.protocol.wire.messages import held_event
from realtime_bridge_backends.redis.client_factory import Client, close
from realtime_bridge_backends.redis.errors import explained
from realtime_bridge_backends.redis.pubsub_pool import Lines

ADD_SECONDS = 5.0
"""How long a subscription may take to be confirmed."""


def announcement(prefix: str, channel: str) -> str:
    """Return the pub/sub channel of a channel; on a Cluster it shares the slot of its keys."""
    return f"{prefix}:{{{channel}}}"


class RedisListener(ReconnectingListener):
    """Hears what is announced; when one of its connections is lost, all are made anew.

    Args:
        connect: makes a client of the servers to listen to.
        prefix: what the channels begin with.
        where: the server, for messages.

    """

    def __init__(self, connect: Callable[[], Client], prefix: str, *, where: str) -> None:
        super().__init__()
        self._connect = connect
        self._prefix = prefix
        self._where = where
        self._channels: set[str] = set()
        self._lines: Lines | None = None

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe, and wait until Redis has confirmed it.

        Raises:
            PublishError: it did not.

        """
        new = set(channels) - self._channels
        self._channels |= new
        try:
            async with asyncio.timeout(ADD_SECONDS):
                await self._connected.wait()
                assert self._lines
                await self._lines.subscribe(self._announcements(new))
        except (RedisError, OSError) as error:
            self._channels -= new
            raise explained(error, self._where) from error

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe."""
        old = self._channels.intersection(channels)
        self._channels -= old
        if self._lines:
            with suppress(RedisError, OSError):  # then the connection is lost, and all is anew
                await self._lines.unsubscribe(self._announcements(old))

    async def _listen_until_lost(self) -> PublishError:
        failures: list[Exception] = []
        try:
            async with self._client() as client, asyncio.TaskGroup() as tasks:
                lines = Lines(client, tasks, self._hear)
                await lines.open()
                await lines.subscribe(self._announcements(self._channels))
                self._lines = lines
                self._on_connected()
                await asyncio.Event().wait()
        except* (RedisError, OSError) as group:
            failures += group.exceptions
        self._lines = None
        return explained(failures[0], self._where)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Client]:
        client = self._connect()
        try:
            yield client
        finally:
            await close(client)

    def _announcements(self, channels: Iterable[str]) -> list[str]:
        return [announcement(self._prefix, channel) for channel in channels]

    def _hear(self, payload: bytes) -> None:
        frames = payload.split(b"\n")
        self._queue.put([held_event(frame) for frame in frames])
