"""Announcements of appended events, in this process."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from realtime_bridge.backend.component import Component
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event


class FeedInterrupted(Struct, frozen=True):
    """Gap in a feed: announcements may be missing; compare positions, and recover.

    Args:
        channel: the only channel with a gap; None where all channels may have one.
        connected: False while no announcement arrives. Another report follows when the feed
            works again.

    """

    channel: str | None = None
    connected: bool = True


class Listener(ABC):
    """Stream of the events that were appended to channels since they were subscribed."""

    on_ephemeral: Callable[[EphemeralEvent], None] = staticmethod(lambda _: None)
    """Called with each event of `EphemeralFeed.send_ephemeral` on a subscribed channel."""

    @abstractmethod
    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe to channels; after the call no later append is missed.

        Raises:
            PublishError: the backend cannot be reached.

        """

    @abstractmethod
    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """End the subscriptions to channels."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Sequence[Event] | FeedInterrupted]:
        """Yield the events since the last turn, in order per channel, or `FeedInterrupted`."""

    async def follow(
        self,
        receive: Callable[[Sequence[Event]], None],
        recover: Callable[[FeedInterrupted], Awaitable[None]],
    ) -> None:
        """Pass on what the stream yields, until it ends; one reader follows a listener.

        Args:
            receive: called with the events of a turn of the loop.
            recover: called with a gap; later events wait until it has ended.

        Raises:
            Exception: the error of a call, of any class; the events since then wait.

        """
        async for item in self:
            if isinstance(item, FeedInterrupted):
                await recover(item)
            else:
                receive(item)


class Feed(Component):
    """Source of the events that other processes append."""

    @abstractmethod
    def listen(self) -> AbstractAsyncContextManager[Listener]:
        """Open a listener; leaving the context closes it and ends its stream."""


class EphemeralFeed(Feed):
    """Feed that also carries events which no log keeps."""

    @abstractmethod
    async def send_ephemeral(self, event: EphemeralEvent) -> None:
        """Send an event to the present listeners of its channel, in all processes.

        Those of one sender arrive in order, by `Listener.on_ephemeral`. A listener that is not
        connected, or has too much to do, misses some: nothing reports that.

        Raises:
            PublishError: the backend cannot be reached.

        """
