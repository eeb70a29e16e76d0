"""Tests of the division of a batch, and of several, into calls."""

from collections.abc import Sequence

import pytest

from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.protocol.publishing.chunks import (
    JOINED_BYTES,
    chunked,
    grouped,
    partition_by_channel,
)


def test_items_of_one_channel_stay_in_one_list_in_order() -> None:
    pairs = [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 5)]
    assert partition_by_channel(pairs, 2) == [[1, 3, 5], [2, 4]]


def test_new_channel_joins_the_shortest_list() -> None:
    pairs = [("a", 1), ("a", 2), ("b", 3), ("c", 4)]
    assert partition_by_channel(pairs, 2) == [[1, 2], [3, 4]]


def test_lists_without_items_are_omitted() -> None:
    assert partition_by_channel([("a", 1), ("a", 2)], 4) == [[1, 2]]
    assert partition_by_channel([], 4) == []


def test_chunks_have_at_most_the_size_and_keep_the_order() -> None:
    assert list(chunked([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(chunked([1, 2], 2)) == [[1, 2]]
    assert list(chunked([], 2)) == []


def batch(events: int, size: int = 3) -> list[Event]:
    return [Event(channel="job.7", event="x", data="x" * (size - 2)) for _ in range(events)]


@pytest.mark.parametrize(
    ("batches", "sizes"),
    [
        ([], []),
        ([batch(1)] * 3, [3]),
        ([batch(1)] * (MAX_BATCH + 1), [MAX_BATCH, 1]),
        ([batch(MAX_BATCH - 1), batch(2), batch(1)], [1, 2]),
        ([batch(2, JOINED_BYTES // 4)] * 3, [2, 1]),
        ([batch(1), batch(1, JOINED_BYTES + 1), batch(1)], [1, 1, 1]),
    ],
)
def test_groups_keep_the_order_and_the_limits(
    batches: Sequence[Sequence[Event]], sizes: list[int]
) -> None:
    groups = list(grouped(batches))
    assert [len(group) for group in groups] == sizes
    assert [one for group in groups for one in group] == list(batches)
