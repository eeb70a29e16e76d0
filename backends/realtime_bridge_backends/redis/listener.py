"""Feed of Redis: events published on the pub/sub channels of the log's channels."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from redis.exceptions import RedisError

from realtime_bridge.backend.reconnecting import ReconnectingListener
from realtime_bridge.errors import PublishError
from realtime_bridge.protocol.wire.messages import held_event
from realtime_bridge_backends.redis.client_factory import Client, close_client
from realtime_bridge_backends.redis.errors import to_publish_error
from realtime_bridge_backends.redis.pubsub_pool import PubSubPool
from realtime_bridge_backends.redis.timing import RedisTiming


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

    """

    def __init__(
        self, create_client: Callable[[], Client], prefix: str, *, server: str, timing: RedisTiming
    ) -> None:
        super().__init__()
        self._create_client = create_client
        self._prefix = prefix
        self._server = server
        self._timing = timing
        self._channels: set[str] = set()
        self._pool: PubSubPool | None = None

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
        except (RedisError, OSError) as error:
            self._channels -= new
            raise to_publish_error(error, self._server) from error

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe from channels."""
        old = self._channels.intersection(channels)
        self._channels -= old
        if self._pool:
            # A failure means a lost connection: the next one does not subscribe them.
            with suppress(RedisError, OSError):
                await self._pool.unsubscribe(self._pubsub_channels(old))

    async def _listen_until_lost(self) -> PublishError:
        failures: list[Exception] = []
        try:
            async with self._client() as client, asyncio.TaskGroup() as tasks:
                pool = PubSubPool(client, tasks, self._receive, timing=self._timing)
                await pool.open()
                # Subscribe before `_on_connected`: after it, no event may be missed.
                await pool.subscribe(self._pubsub_channels(self._channels))
                self._pool = pool
                self._on_connected()
                await asyncio.Event().wait()  # until a task of the group fails
        except* (RedisError, OSError) as group:
            failures += group.exceptions
        self._pool = None
        return to_publish_error(failures[0], self._server)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Client]:
        client = self._create_client()
        try:
            yield client
        finally:
            await close_client(client)

    def _pubsub_channels(self, channels: Iterable[str]) -> list[str]:
        return [pubsub_channel(self._prefix, channel) for channel in channels]

    def _receive(self, payload: bytes) -> None:
        # A frame is JSON in one line, so a newline separates two.
        self._queue.put([held_event(frame) for frame in payload.split(b"\n")])
