"""Comparison of a channel's events with the state that was loaded beside them."""

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position


def includes(top: Position, event: Event) -> bool:
    """Return whether the state as of `top` includes an event."""
    place = event.position
    return place is not None and place.epoch == top.epoch and place.offset <= top.offset


def contradicts(top: Position, event: Event) -> bool:
    """Return whether an event has the place of another one that the state as of `top` includes.

    The log was rolled back after the state was loaded: the state describes events that are lost.
    """
    return event.position == top and top.id is not None and top.id != event.id
