"""Announcements of appended events, in this process."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from realtime_bridge.backend.component import Component
from realtime_bridge.model.event import Event


@dataclass(frozen=True, slots=True)
class FeedInterrupted:
    """The feed may have missed announcements: compare positions, and recover."""


class Listener(ABC):
    """One process's ear on a feed: what was appended to its channels since they were added."""

    @abstractmethod
    async def subscribe(self, channels: Iterable[str]) -> None:
        """Hear these channels; when it returns, nothing appended later is missed."""

    @abstractmethod
    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Hear these channels no more."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        """Yield what was appended since the last turn, in order per channel, or `FeedInterrupted`."""


class Feed(Component):
    """The ability to hear, in this process, what other processes appended."""

    @abstractmethod
    def listen(self) -> AbstractAsyncContextManager[Listener]:
        """Open a listener; leaving the context closes it and ends its stream."""
