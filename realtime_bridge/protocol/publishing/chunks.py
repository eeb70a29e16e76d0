"""Division of a batch into a provider's calls; the order within each channel is kept."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

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
