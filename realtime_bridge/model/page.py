"""Part of a channel's log, in order."""

from msgspec import Struct

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position

PAGE_EVENTS = 500
"""Events of one page, at most."""

PAGE_BYTES = 512 * 1024
"""Bytes of data of one page, at most; a larger first event is a page alone."""


class Page(Struct, frozen=True, kw_only=True, gc=False):
    """Events in order, the channel's `top`, and whether `more` events lie before it."""

    events: tuple[Event, ...]
    top: Position
    more: bool = False
