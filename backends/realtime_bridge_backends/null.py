"""Deliver nothing, on purpose: a backend for tests, and for switching real time off."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.model.event import MAX_DATA_BYTES, Event

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings


class NullBackend(Backend, Plugin):
    """Takes every event, and drops it."""

    limits = PushLimits(event_bytes=MAX_DATA_BYTES, events=500, channels=500)

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:  # noqa: ARG003 -- it needs none
        """Make one; it needs nothing."""
        return cls()

    async def push(self, events: Sequence[Event]) -> None:
        """Drop the events."""
