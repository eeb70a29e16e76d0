"""Fresh channels, and events that are hard to store and to transport."""

from typing import Any

from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.event_data import MAX_DATA_BYTES

HARD_DATA: dict[str, Any] = {
    "nothing": None,
    "true": True,
    "zero": 0,
    "largest integer": 2**53 - 1,  # the integers that JavaScript represents exactly
    "smallest integer": -(2**53) + 1,
    "fractions": [0.1, -2.5, 1e300, 5e-324],
    "empty": [{}, [], ""],
    "scripts": "Grüße, 世界, שלום, 🚀, \u2028, e\u0301",
    "controls": 'quote " backslash \\ newline \n nul \x00 del \x7f',
    "markup": "</script><!-- & %s {0} $1 ' -- ;",
    "nested": {"a": [{"b": {"c": [[[1]], None]}}], "": {"ä": "ö"}},
    "order": {"z": 1, "a": 2, "m": 3},
}
"""JSON data that a faulty backend may change."""

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""Trace context of an event."""

LARGEST = "x" * (MAX_DATA_BYTES - 2)
"""Data whose encoding has exactly the largest permitted size."""


def new_channel() -> str:
    """Return the name of an unused channel, also on a shared server."""
    return f"contract-{ids.event_id()}"


def numbered(channel: str, count: int, *, start: int = 1) -> list[Event]:
    """Create `count` events whose data holds their number in the test, from `start` on."""
    return [
        Event(channel=channel, event="contract.step", data={"step": step})
        for step in range(start, start + count)
    ]


def content(event: Event) -> tuple[Any, ...]:
    """Return the fields of an event that no log and no feed may change."""
    return (
        event.channel,
        event.event,
        event.data,
        event.id,
        event.key,
        event.source,
        event.traceparent,
    )
