"""Log and feed of one process, reached through a simulated link."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from random import Random
from typing import TypeVar

from realtime_bridge.backend.feed import Feed, Listener
from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.backend.reconnecting import ReconnectingListener
from realtime_bridge.errors import BackendUnavailableError, PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.testing.simulation.log_store import LogStore
from realtime_bridge.testing.simulation.network import Link, Pipe
from realtime_bridge.testing.simulation.virtual_loop import VirtualLoop

CALL_SECONDS = 4.0
"""Time limit of a call, as the backends have one."""

PING_SECONDS, PONG_SECONDS = 10.0, 5.0
"""Interval of a listener's own checks, and the time limit of each, as Redis' listener has them."""

LOST_SHARE = 0.7

T = TypeVar("T")


class LogConnection:
    """Link of one process to the log, and the faults of it.

    Args:
        loop: the event loop.
        random: draws delays and losses.
        store: the log.
        link: the way there.
        answer_delay: the seconds by which the log answers later than it announces.

    """

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        store: LogStore,
        link: Link,
        *,
        answer_delay: float = 0.0,
    ) -> None:
        self.loop: VirtualLoop = loop
        self.random: Random = random
        self.store: LogStore = store
        self.link: Link = link
        self.answer_delay: float = answer_delay
        self.is_refused: bool = False
        self.refused_since: float = 0.0
        self.raises: bool = False
        """True while calls and the feed raise an exception that no backend documents."""
        self.loses_answers: bool = False
        self.lost_share: float = 0.0
        """Share of announcements that are lost."""
        self.repeats_announcements: bool = False
        self.announcement_delay: float = 0.0
        self.announcement_spread: float = 0.0
        """Longest random delay of an announcement: a later one may overtake it."""
        self.feeds: dict[SimulatedListener, None] = {}

    async def call(self, work: Callable[[], T]) -> T:
        """Call the log.

        Raises:
            BackendUnavailableError: it cannot be reached, or did not answer in time.

        """
        try:
            deadline = self.loop.now + CALL_SECONDS
            await self.link.up.traverse(deadline=deadline)
            self._check()
            result = work()
            if self.answer_delay:
                await self.loop.sleep(self.answer_delay, deadline)
            await self.link.down.traverse(deadline=deadline)
        except TimeoutError as error:
            raise BackendUnavailableError("the log did not answer in time") from error
        self._check()
        if self.loses_answers and self.random.random() < LOST_SHARE:
            raise BackendUnavailableError("the connection was lost before the answer")
        return result

    def draw_announcement_delay(self) -> float:
        """Return the seconds until an announcement is sent."""
        spread = self.announcement_spread
        return self.announcement_delay + (self.random.uniform(0, spread) if spread else 0.0)

    def break_feeds(self, error: Exception) -> None:
        """End the connections of all listeners."""
        for feed in list(self.feeds):
            feed.lose(error)

    def _check(self) -> None:
        if self.raises:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")
        if self.is_refused:
            raise BackendUnavailableError("the log refused the connection")


class SimulatedLog(FoldingLog, Feed):
    """Log and feed of one process."""

    def __init__(self, connection: LogConnection) -> None:
        self._connection = connection
        self._store = connection.store
        self.is_dead: bool = False
        """True once the process was killed: what is left of its code reaches nothing."""

    def __str__(self) -> str:
        return "the simulated log"

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append events."""
        return await self._call(lambda: self._store.append(events))

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset."""
        return await self._call(lambda: self._store.read(channel, after, limit))

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        names = list(channels)
        return await self._call(lambda: self._store.positions(names))

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        """Return the latest event of each key, or the group of one key."""
        return await self._call(lambda: self._store.latest(channel, after, limit, key))

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart leases."""
        return await self._call(lambda: self._store.renew(leases))

    async def generation(self, configuration: str) -> int:
        """Return the generation of a configuration."""
        return await self._call(lambda: self._store.generation(configuration))

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch if `expected_epoch` is still the channel's."""
        store = self._store
        return await self._call(lambda: store.rotate_epoch(channel, expected_epoch))

    async def _call(self, work: Callable[[], T]) -> T:
        if self.is_dead:
            raise asyncio.CancelledError
        return await self._connection.call(work)

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener."""
        async with SimulatedListener(self._connection) as listener:
            yield listener


class SimulatedListener(ReconnectingListener):
    """Listener whose connection the simulation breaks."""

    def __init__(self, connection: LogConnection) -> None:
        super().__init__()
        self._connection = connection
        self._channels: dict[str, None] = {}
        self._lost: asyncio.Future[None] | None = None

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe to channels; an append after the call is announced."""
        names = list(channels)
        await self._connection.call(lambda: self._channels.update(dict.fromkeys(names)))

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """End the subscriptions to channels."""
        for channel in channels:
            self._channels.pop(channel, None)

    def lose(self, error: Exception) -> None:
        """End the connection."""
        if self._lost and not self._lost.done():
            self._lost.set_exception(error)

    async def _listen_until_lost(self) -> None:
        connection, store = self._connection, self._connection.store
        context = copy_context()
        pipe = Pipe(connection.loop, connection.link.down, self._receive, context)
        self._lost = connection.loop.create_future()
        try:
            await connection.call(lambda: store.listeners.update({self: self._announce(pipe)}))
            connection.feeds[self] = None
            self._on_connected()
            await self._ping_until_lost(self._lost)
        finally:
            pipe.is_broken = True
            connection.feeds.pop(self, None)
            store.listeners.pop(self, None)

    def _to_publish_error(self, error: Exception) -> PublishError:
        return error if isinstance(error, PublishError) else BackendUnavailableError(repr(error))

    async def _ping_until_lost(self, lost: "asyncio.Future[None]") -> None:
        while True:
            await asyncio.wait([lost], timeout=PING_SECONDS)
            if lost.done():
                lost.result()
            await self._connection.call(lambda: None)

    def _announce(self, pipe: Pipe) -> Callable[[Sequence[Event]], None]:
        connection = self._connection

        def announce(events: Sequence[Event]) -> None:
            subscribed = [event for event in events if event.channel in self._channels]
            if connection.lost_share and connection.random.random() < connection.lost_share:
                connection.store.unannounced.update(event.id for event in subscribed)
                return
            for _ in range(1 + connection.repeats_announcements if subscribed else 0):
                delay = connection.draw_announcement_delay()
                connection.loop.call_later(delay, pipe.send, subscribed)

        return announce

    def _receive(self, events: Sequence[Event]) -> None:
        self._queue.put(events)
