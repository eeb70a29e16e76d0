"""Where the log, the feed and a subscriber stand on a channel, held against each other."""

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position


def differs_from(here: Position, top: Position) -> bool:
    """Tell whether the log stands elsewhere than we do: further, anew, or with its tail lost."""
    return top != here or top.id != here.id


def caught_up(here: Position, before: Position, top: Position) -> bool:
    """Tell whether the feed has meanwhile brought us from `before` to `top`, or past it."""
    return here.epoch == top.epoch and here.offset >= top.offset > before.offset


def includes(event: Event, top: Position) -> bool:
    """Tell whether an announcement was under way when the log told its top."""
    place = event.position
    return place is not None and place.epoch == top.epoch and place.offset <= top.offset


def has_reached(here: Position, there: Position) -> bool:
    """Tell whether who is `here` has had all up to `there`, in the same epoch."""
    return here.epoch == there.epoch and here.offset >= there.offset


def with_id(event: Event) -> Position:
    """Return an event's place, with the id that proves it."""
    place = event.position
    assert place
    return place if place.id else Position(place.epoch, place.offset, event.id)
