"""What a listener has heard and nobody has taken yet: bounded, and honest about what it dropped."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.model.event import Event

MAX_WAITING = 10_000
"""Events that may wait to be taken; beyond that they are dropped, and it is an interruption."""


class ListenerQueue:
    """The stream of one listener, for any backend to put events in."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._interrupted = False
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._events)

    def put(self, events: Sequence[Event]) -> None:
        """Add what was heard, in order."""
        if len(self._events) + len(events) > MAX_WAITING:
            self.mark_gap()
        self._events += events
        self._wake.set()

    def mark_gap(self) -> None:
        """Drop what waits, and say that something may be missing before what comes next."""
        self._events.clear()
        self._interrupted = True
        self._wake.set()

    def close(self) -> None:
        """End the stream."""
        self._closed = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            if self._interrupted:
                self._interrupted = False
                yield FeedInterrupted()
            events, self._events = self._events, []
            if events:
                yield events
