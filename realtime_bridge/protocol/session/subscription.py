"""State of one subscription to one channel."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset

HEARTBEAT_OFFSETS = 150
"""The most channels in one heartbeat; three report all that a connection has by default."""


# A connection is traced by the garbage collector; its subscriptions are not: at 10,000 connections
# the collector would take longer than the fan-out. A task refers back only while it runs.
class ChannelSubscription(Struct, gc=False, eq=False):
    """Subscription of one subscriber to one channel, the only home of its state.

    Args:
        channel: the channel's name.
        offset: the last offset that the client was informed of.
        opening: whether it is being authorized, or its history is being read.
        behind: whether events are held back: the client has to read history first.
        prompted: whether a reset, a heartbeat or a demotion lets the client subscribe again once
            without a limit.
        buffer: events and resets that arrived while the history is read, else None.
        position: the position that the history ended with, while the feed is behind it.
        task: the task that authorizes it and reads its history, while that runs.

    """

    channel: str
    offset: int = 0
    opening: bool = True
    behind: bool = True
    prompted: bool = False
    buffer: list[Event | Reset] | None = None
    position: Position | None = None
    task: Any = None

    def continues_at(self, position: Position | None) -> bool:
        """Return whether a position is the end of the last page, after which there are more."""
        # Another one would have the same page read again, as often as the client likes.
        return self.behind and position is not None and position.offset >= self.offset

    def restart(self) -> None:
        """Begin again: the client subscribes from another position."""
        self.opening = self.behind = True
        self.prompted = False


def changed_offsets(
    subscriptions: dict[str, ChannelSubscription], top: Callable[[str], int | None]
) -> dict[str, int]:
    """Return offsets that the client was not informed of yet, for one heartbeat."""
    changed: dict[str, int] = {}
    for channel, subscription in subscriptions.items():
        offset = None if subscription.opening else top(channel)
        if offset is not None and offset != subscription.offset:
            changed[channel] = subscription.offset = offset
            subscription.prompted = True
        if len(changed) == HEARTBEAT_OFFSETS:
            break
    # Reported channels go to the end, so that busy channels do not starve the others.
    for channel in changed:
        subscriptions[channel] = subscriptions.pop(channel)
    return changed
