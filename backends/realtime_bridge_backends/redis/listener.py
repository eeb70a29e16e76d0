"""The feed: one subscription connection, or one for each node of a Cluster that has a channel."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self

import orjson
from redis.exceptions import RedisError

from realtime_bridge.backend import Interrupted, Listener
from realtime_bridge.errors import PublishError
from realtime_bridge.event import Event
from realtime_bridge.heard import Heard
from realtime_bridge.protocol import backoff
from realtime_bridge.protocol.frames import decode_event
from realtime_bridge_backends.redis.address import Client, close
from realtime_bridge_backends.redis.failures import explained
from realtime_bridge_backends.redis.lines import Lines

ADD_SECONDS = 5.0
"""How long a subscription may take to be confirmed."""

_logger = logging.getLogger("realtime_bridge.redis")


def announcement(prefix: str, channel: str) -> str:
    """Return the pub/sub channel of a channel; on a Cluster it shares the slot of its keys."""
    return f"{prefix}:{{{channel}}}"


class RedisListener(Listener):
    """Hears what is announced; when a connection is lost, all are made anew.

    It says `Interrupted` when that happens, so that somebody compares positions, and again when
    everything is subscribed anew: what was announced between is missing.

    Args:
        connect: makes a client of the servers to listen to.
        prefix: what the channels begin with.
        where: the server, for messages.

    """

    def __init__(self, connect: Callable[[], Client], prefix: str, *, where: str) -> None:
        self._connect = connect
        self._prefix = prefix
        self._where = where
        self._heard = Heard()
        self._channels: set[str] = set()
        self._lines: Lines | None = None
        self._connected = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        first = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(first))
        try:
            await first
        except BaseException:
            self._running.cancel()
            raise
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
        self._heard.close()

    def __aiter__(self) -> AsyncIterator[Sequence[Event] | Interrupted]:
        return aiter(self._heard)

    async def add(self, channels: Iterable[str]) -> None:
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

    async def discard(self, channels: Iterable[str]) -> None:
        """Unsubscribe."""
        old = self._channels.intersection(channels)
        self._channels -= old
        if self._lines:
            with suppress(RedisError, OSError):  # then the connection is lost, and all is anew
                await self._lines.unsubscribe(self._announcements(old))

    async def _run(self, first: asyncio.Future[None]) -> None:
        """Stay connected; whether the first time succeeds is told, and the end if it does not."""
        attempt = 0
        while True:
            failure = await self._hear_until_lost(first)
            if not first.done():
                first.set_exception(failure)
                return
            attempt = 0 if self._connected.is_set() else attempt + 1
            self._connected.clear()
            self._lines = None
            self._heard.interrupt()
            _logger.warning("the feed was lost, connecting anew: %s", failure)
            await asyncio.sleep(backoff.delay(attempt, random.random(), base=0.5, cap=5))  # noqa: S311

    async def _hear_until_lost(self, first: asyncio.Future[None]) -> PublishError:
        """Connect and hear until that fails, and return why it did."""
        failures: list[Exception] = []
        try:
            async with self._client() as client, asyncio.TaskGroup() as tasks:
                lines = Lines(client, tasks, self._hear)
                await lines.open()
                await lines.subscribe(self._announcements(self._channels))
                self._begin(lines, first)
                await asyncio.Event().wait()
        except* (RedisError, OSError) as group:
            failures += group.exceptions
        return explained(failures[0], self._where)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Client]:
        client = self._connect()
        try:
            yield client
        finally:
            await close(client)

    def _begin(self, lines: Lines, first: asyncio.Future[None]) -> None:
        self._lines = lines
        self._connected.set()
        if first.done():
            self._heard.interrupt()
        else:
            first.set_result(None)

    def _announcements(self, channels: Iterable[str]) -> list[str]:
        return [announcement(self._prefix, channel) for channel in channels]

    def _hear(self, payload: bytes) -> None:
        frames = payload.split(b"\n")
        self._heard.put([decode_event(orjson.loads(frame)) for frame in frames])
