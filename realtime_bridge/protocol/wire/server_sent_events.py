"""Server-Sent Events, as bytes."""

from typing import Any

import orjson

from realtime_bridge.model.position import Position

COMMENT = b":\n\n"
"""Comment, which keeps a quiet connection open and which readers ignore."""


RETRY = b"retry: 3000\n\n"
"""Wait of an `EventSource` before it reconnects, in ms."""


def encode_sse(data: Any, *, event: str | None = None, position: Position | None = None) -> bytes:
    """Return one event with JSON as its data, and with a position as its id."""
    name = f"event: {event}\n" if event else ""
    place = f"id: {position.epoch}:{position.offset}\n" if position else ""
    return b"%b%bdata: %b\n\n" % (name.encode(), place.encode(), orjson.dumps(data))
