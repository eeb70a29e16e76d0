"""Tests of the division of a batch into a provider's calls."""

from realtime_bridge.protocol.publishing.chunks import chunked, partition_by_channel


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
