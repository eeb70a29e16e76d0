"""Bounded queue of received events, and the feed that fills it within a process."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial

from realtime_bridge.backend.feed import FeedInterrupted, Listener
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event

CAPACITY = 10_000
"""Events that wait for the listener; an overflow drops them, and is a gap."""

YIELD_EVENTS = 256
"""Queued events of a listener from which listeners have to run: a publisher in a tight loop would
otherwise fill their queues."""


class ListenerQueue:
    """Stream of one listener, filled by its backend; an overflow is a gap.

    Args:
        capacity: number of events that may wait.

    """

    __slots__ = (
        "_capacity",
        "_closed",
        "_error",
        "_events",
        "_gap",
        "_gap_channels",
        "_is_due",
        "_is_idle",
        "_receive",
        "_schedule",
        "_wake",
    )

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._events: list[Event] = []
        self._gap: FeedInterrupted | None = None
        self._gap_channels: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._closed = False
        self._is_idle = False
        """True while the stream waits, so that nothing precedes the next events."""
        self._is_due = False
        """True if the waiting events have a call of the loop, or of the stream, already."""
        self._schedule: Callable[[], object] = self._wake.set
        self._receive: Callable[[Sequence[Event]], None] | None = None
        self._error: Exception | None = None

    def put(self, events: Sequence[Event]) -> int:
        """Append received events, in order, and return the number of waiting events."""
        # Old events go, not new ones: recovery reads the log from the client's position anyway.
        if len(self._events) + len(events) > self._capacity:
            self._drop(self._gap or FeedInterrupted())
        self._events += events
        if self._events and not self._is_due:
            self._schedule()
            self._is_due = True
        return len(self._events)

    def mark_gap(self, *, connected: bool = True) -> None:
        """Drop the waiting events, and report a gap before the next ones.

        Args:
            connected: whether announcements arrive from now on.

        """
        self._drop(FeedInterrupted(connected=connected))

    def mark_channel_gap(self, channel: str) -> None:
        """Report a gap of one channel before the next events."""
        self._gap_channels[channel] = None
        self._wake.set()

    def close(self) -> None:
        """End the stream."""
        self._closed = True
        self._wake.set()

    async def follow(
        self,
        receive: Callable[[Sequence[Event]], None],
        recover: Callable[[FeedInterrupted], Awaitable[None]],
    ) -> None:
        """Pass events and gaps on, as `Listener.follow` does.

        The loop itself passes most events on: to wake the stream's task costs each turn more than
        the fan-out of an event.
        """
        # Not in the context of a publisher, whose trace would go on here.
        context = copy_context()
        self._receive = receive
        self._schedule = partial(
            asyncio.get_running_loop().call_soon, self._pass_on, context=context
        )
        try:
            async for item in self:
                if isinstance(item, FeedInterrupted):
                    await recover(item)
                else:
                    receive(item)
        finally:
            self._receive, self._schedule = None, self._wake.set

    def _pass_on(self) -> None:
        """Pass the waiting events on, unless the stream has to handle something before them."""
        self._is_due = False
        if not self._is_idle or self._wake.is_set() or self._receive is None:
            self._wake.set()
            return
        events, self._events = self._events, []
        try:
            if events:
                self._receive(events)
        except Exception as error:
            self._error = error  # the follower raises it
            self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        while not self._closed:
            self._is_idle = True
            await self._wake.wait()
            self._is_idle = self._is_due = False
            self._wake.clear()
            if self._error:
                error, self._error = self._error, None
                raise error
            gap, self._gap = self._gap, None
            if gap:
                yield gap
            channels, self._gap_channels = self._gap_channels, {}
            for channel in channels:
                yield FeedInterrupted(channel)
            # One list per turn: the consumer handles all waiting events at once.
            events, self._events = self._events, []
            if events:
                yield events

    def _drop(self, gap: FeedInterrupted) -> None:
        self._events.clear()
        self._gap_channels.clear()  # the gap of all channels includes them
        self._gap = gap
        self._wake.set()


class LocalListener(Listener):
    """Listener of a feed in this process, which hands it every appended event."""

    __slots__ = ("_channels", "_queue")

    def __init__(self) -> None:
        self._queue = ListenerQueue()
        self._channels: dict[str, None] = {}
        """A dictionary: a set of thousands takes three times its memory."""

    def receive(self, events: Sequence[Event]) -> int:
        """Queue the events of subscribed channels, and return the number of waiting events."""
        channels, subscribed = self._channels, []
        for event in events:  # a loop: for one event, a comprehension costs twice that
            if event.channel in channels:
                subscribed.append(event)  # noqa: PERF401 -- as above
        # Most events of a server without subscribers end here: the queue costs them a tenth.
        return self._queue.put(subscribed) if subscribed else 0

    def receive_ephemeral(self, event: EphemeralEvent) -> None:
        """Pass an event that no log keeps on, if its channel is subscribed."""
        if event.channel in self._channels:
            self.on_ephemeral(event)

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe to channels."""
        self._channels.update(dict.fromkeys(channels))

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """End the subscriptions to channels."""
        for channel in channels:
            self._channels.pop(channel, None)

    def close(self) -> None:
        """End the stream."""
        self._queue.close()

    def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        return aiter(self._queue)

    async def follow(
        self,
        receive: Callable[[Sequence[Event]], None],
        recover: Callable[[FeedInterrupted], Awaitable[None]],
    ) -> None:
        """Pass on what the stream yields."""
        await self._queue.follow(receive, recover)


class LocalFeed:
    """Listeners in this process, each of which gets every appended event."""

    __slots__ = ("_listeners", "must_yield")

    def __init__(self) -> None:
        self._listeners: dict[LocalListener, None] = {}
        self.must_yield: bool = False
        """True if the listeners had to run after the last announcement."""

    def announce(self, events: Sequence[Event]) -> None:
        """Queue events for the listeners."""
        self.must_yield = False
        for listener in self._listeners:
            if listener.receive(events) >= YIELD_EVENTS:
                self.must_yield = True

    def send_ephemeral(self, event: EphemeralEvent) -> None:
        """Pass an event that no log keeps to the listeners of its channel."""
        for listener in list(self._listeners):
            listener.receive_ephemeral(event)

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener."""
        listener = LocalListener()
        self._listeners[listener] = None
        try:
            yield listener
        finally:
            del self._listeners[listener]
            listener.close()
