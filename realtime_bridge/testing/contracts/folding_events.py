"""Events of keys with owners, for the contract of `FoldingLog`."""

from collections.abc import Sequence
from typing import Any

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.receipt import Receipt

LEASE: dict[str, Any] = {"lease": 30, "will": {"event": "run.lost", "data": {"state": "lost"}}}


def write(channel: str, event: str, data: Any = None, *, key: str = "k", **fields: Any) -> Event:
    """Create an event of a key."""
    return Event(channel=channel, event=event, data=data, key=key, **fields)


def start(channel: str, attempt: str = "A", *, key: str = "k", **fields: Any) -> Event:
    """Create the event by which an attempt takes a key over."""
    take = {"take": "always", **LEASE, **fields}
    return write(channel, "run.started", attempt, key=key, attempt=attempt, **take)


def part(channel: str, *items: Any, attempt: str = "A", key: str = "k", **fields: Any) -> Event:
    """Create an event that adds items."""
    return write(
        channel, "run.part", list(items), key=key, fold="append", attempt=attempt, **fields
    )


def end(channel: str, attempt: str = "A", *, key: str = "k", **fields: Any) -> Event:
    """Create the event that ends a key."""
    return write(channel, "run.ended", None, key=key, fold="end", attempt=attempt, **fields)


def note(channel: str, name: str = "run.note", data: Any = None, *, key: str = "k") -> Event:
    """Create a note."""
    return write(channel, name, data, key=key, fold="note")


def summary(page: Page) -> list[tuple[str, Any]]:
    """Return the name and the data of each event."""
    return [(event.event, event.data) for event in page.events]


async def append(log: FoldingLog, events: Sequence[Event]) -> list[Receipt]:
    """Append events that the log must accept."""
    receipts = await log.append(events)
    assert [receipt.refused for receipt in receipts] == [None] * len(events)
    return receipts


def position_of_last(page: Page) -> int:
    """Return the offset of a page's last event."""
    position = page.events[-1].position
    assert position
    return position.offset
