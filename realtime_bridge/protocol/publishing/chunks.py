"""Division of a batch, and of several, into calls; the order within each channel is kept."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from realtime_bridge.model.event import MAX_BATCH, Event

JOINED_BYTES = 256 * 1024
"""Most bytes of data of several batches in one call: a server serves its clients between calls."""

T = TypeVar("T")


def partition_by_channel(pairs: Iterable[tuple[str, T]], count: int) -> list[list[T]]:
    """Divide pairs of channel and item into at most `count` lists; a channel stays in one list.

    Lists are sent side by side, and the calls of one list in turn: so a channel keeps its order.
    """
    lists: list[list[T]] = [[] for _ in range(count)]
    list_of: dict[str, list[T]] = {}
    for channel, item in pairs:
        items = list_of.get(channel)
        if items is None:
            # The shortest list: calls of about equal size end at about the same time.
            items = list_of[channel] = min(lists, key=len)
        items.append(item)
    return [items for items in lists if items]


def chunked(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Divide a sequence into parts of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def grouped(batches: Sequence[Sequence[Event]]) -> Iterator[Sequence[Sequence[Event]]]:
    """Divide batches into groups for one call each: `MAX_BATCH` events, and `JOINED_BYTES`.

    A larger batch is a group of its own.
    """
    start = events = size = 0
    for end, batch in enumerate(batches):
        added = sum(len(event.body) for event in batch)
        is_full = events + len(batch) > MAX_BATCH or size + added > JOINED_BYTES
        if is_full and end > start:
            yield batches[start:end]
            start, events, size = end, 0, 0
        events, size = events + len(batch), size + added
    if batches:
        yield batches[start:]
