"""How a batch of events is cut into calls of a provider, each channel's order kept."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def partition_by_channel(pairs: Iterable[tuple[str, T]], count: int) -> list[list[T]]:
    """Deal out what has a channel to at most `count` lanes, all of one channel to the same one.

    What is in one lane is sent in turn, so a channel's order is kept; lanes go side by side.
    """
    dealt: list[list[T]] = [[] for _ in range(count)]
    home: dict[str, list[T]] = {}
    for channel, item in pairs:
        lane = home.get(channel)
        if lane is None:
            lane = home[channel] = min(dealt, key=len)
        lane.append(item)
    return [lane for lane in dealt if lane]


def chunked(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into pieces of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
