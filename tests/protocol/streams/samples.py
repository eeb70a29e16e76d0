"""Events of streams, as a log stores them."""

from typing import Any

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.streams.snapshot import ENDED, PART, STARTED, stream_key

CHANNEL, STREAM, EPOCH = "chat.1", "m1", "k3v9q2wz"


def stored(name: str, data: Any, offset: int, **fields: Any) -> Event:
    """Return an event of the stream at an offset."""
    common: dict[str, Any] = {
        "channel": CHANNEL,
        "key": stream_key(STREAM),
        "attempt": "A",
        "id": f"n-{offset}",
        "time": 1_000 * offset,
        "position": Position(EPOCH, offset),
    }
    return Event(**common | fields, event=name, data=data)


def started(offset: int = 1, *, form: str = "text", attempt: str = "A") -> Event:
    """Return the start of an attempt."""
    data = {"stream": STREAM, "format": form, "meta": {"model": "x"}}
    return stored(STARTED, data, offset, attempt=attempt)


def part(offset: int, *items: Any) -> Event:
    """Return a part with items."""
    return stored(PART, list(items), offset, fold="append")


def ended(offset: int, state: str = "completed", error: str | None = None) -> Event:
    """Return an end by a writer, or by user 42."""
    by = "42" if state == "stopped" else None
    data = {"stream": STREAM, "state": state, "error": error, "by": by}
    return stored(ENDED, data, offset, fold="end")


def lapsed(offset: int) -> Event:
    """Return the end that the log makes of a silence."""
    data = {"stream": STREAM, "state": "lost", "error": None, "by": None}
    return stored(ENDED, data, offset, fold="lapse")
