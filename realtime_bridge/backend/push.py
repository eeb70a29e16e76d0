"""Push of events towards browsers, best effort."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from realtime_bridge.backend.component import Component
from realtime_bridge.model.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class PushLimits:
    """What one push takes: bytes of an encoded event, events a call, channels a call."""

    event_bytes: int
    events: int
    channels: int


class Backend(Component):
    """Pushes events towards browsers, best effort, where the log's append does not announce."""

    limits: PushLimits

    @abstractmethod
    async def push(self, events: Sequence[Event]) -> None:
        """Hand the events to whoever delivers them.

        Raises:
            PublishError: they were not taken.

        """
