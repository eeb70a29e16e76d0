"""Bounded queue of received events; reports a gap when it overflows."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.model.event import Event

CAPACITY = 10_000
"""Events that wait for the listener; an overflow drops them, and is a gap."""


class ListenerQueue:
    """Stream of one listener, filled by its backend.

    Args:
        capacity: number of events that may wait.

    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._events: list[Event] = []
        self._has_gap = False
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._events)

    def put(self, events: Sequence[Event]) -> None:
        """Append received events, in order."""
        # Old events go, not new ones: recovery reads the log from the client's position anyway.
        if len(self._events) + len(events) > self._capacity:
            self.mark_gap()
        self._events += events
        self._wake.set()

    def mark_gap(self) -> None:
        """Drop the waiting events, and report a gap before the next ones."""
        self._events.clear()
        self._has_gap = True
        self._wake.set()

    def close(self) -> None:
        """End the stream."""
        self._closed = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            if self._has_gap:
                self._has_gap = False
                yield FeedInterrupted()
            # One list per turn: the consumer handles all waiting events at once.
            events, self._events = self._events, []
            if events:
                yield events
