"""Backend that delivers nothing: for tests, and to switch realtime off."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.model.event import Event
from realtime_bridge.model.event_data import MAX_DATA_BYTES

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings


class NullBackend(Backend, Plugin):
    """Delivery backend that accepts and drops every event."""

    drops = True
    limits = PushLimits(event_bytes=MAX_DATA_BYTES, events=500, channels=500)

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:  # noqa: ARG003 -- it needs none
        """Return the backend; it has no settings."""
        return cls()

    async def push(self, events: Sequence[Event]) -> None:
        """Drop the events."""
