"""Part of a channel's log, in order."""

from msgspec import Struct

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position

PAGE_EVENTS = 500
"""The most events of one page."""

PAGE_BYTES = 512 * 1024
"""The most bytes of data in one page, unless its first event alone is larger."""


class Page(Struct, frozen=True, kw_only=True, gc=False):
    """Events in order, the channel's `top`, and whether there is `more` before it."""

    events: tuple[Event, ...]
    top: Position
    more: bool = False
