"""Push of events towards browsers, best effort."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct

from realtime_bridge.backend.component import Component
from realtime_bridge.model.event import Event


class PushLimits(Struct, frozen=True, kw_only=True):
    """Limits of one call of `push`.

    Args:
        event_bytes: bytes of one encoded event.
        events: number of events.
        channels: number of channels.
        stream_seconds: shortest time between two parts of a stream, which the provider allows for
            each stream of an application.

    """

    event_bytes: int
    events: int
    channels: int
    stream_seconds: float = 0.05


class Backend(Component):
    """Pushing part, for a log whose append does not announce the events itself."""

    limits: PushLimits

    drops: ClassVar[bool] = False
    """True if it drops every event, to switch realtime off; streams then need no log."""

    @abstractmethod
    async def push(self, events: Sequence[Event]) -> None:
        """Push events, best effort: recovery from the log delivers a lost one.

        Raises:
            PublishError: the events were not accepted.

        """
