"""Channels nobody else uses, and events that are hard to carry."""

from typing import Any

from realtime_bridge.model import ids
from realtime_bridge.model.event import MAX_DATA_BYTES, Event

HARD_DATA: dict[str, Any] = {
    "nothing": None,
    "true": True,
    "zero": 0,
    "largest integer": 2**53 - 1,
    "smallest integer": -(2**53) + 1,
    "fractions": [0.1, -2.5, 1e300, 5e-324],
    "empty": [{}, [], ""],
    "scripts": "Grüße, 世界, שלום, 🚀, \u2028, e\u0301",
    "controls": 'quote " backslash \\ newline \n nul \x00 del \x7f',
    "markup": "</script><!-- & %s {0} $1 ' -- ;",
    "nested": {"a": [{"b": {"c": [[[1]], None]}}], "": {"ä": "ö"}},
    "order": {"z": 1, "a": 2, "m": 3},
}
"""Data that JSON can say, and that something on the way may be tempted to change."""

LARGEST = "x" * (MAX_DATA_BYTES - 2)
"""Data of exactly the hard limit, encoded."""


def new_channel() -> str:
    """Make the name of a channel that nobody used, so that a shared server may be tested."""
    return f"contract-{ids.event_id()}"


def numbered(channel: str, count: int, *, start: int = 1) -> list[Event]:
    """Make events that say their place in the test, from `start` on."""
    return [
        Event(channel=channel, event="contract.step", data={"step": step})
        for step in range(start, start + count)
    ]


def content(event: Event) -> tuple[Any, ...]:
    """Return what of an event no log and no feed may change."""
    return (event.channel, event.event, event.data, event.id, event.key, event.source)
