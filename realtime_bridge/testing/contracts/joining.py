"""Contract of a `JoiningLog`: batches of one call have results of their own."""
# ruff: noqa: D102 -- a test's name states its condition and result

import asyncio

from realtime_bridge.backend.log import JoiningLog, Log, Result
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.testing.contracts.log_base import LogContractBase
from realtime_bridge.testing.contracts.samples import new_channel, numbered


class JoiningLogContract(LogContractBase):
    """Tests of joined appends; a subclass provides the fixtures of `LogContract`."""

    async def test_batches_of_one_channel_are_appended_in_order(
        self, sender: JoiningLog, receiver: Log, channel: str
    ) -> None:
        batches = [numbered(channel, count, start=10 * count) for count in (1, 3, 2)]
        results = await sender.append_joined(batches)
        assert offsets(results) == [[1], [2, 3, 4], [5, 6]]
        top = (await receiver.positions([channel]))[channel]
        page = await receiver.read(channel, Position(top.epoch, 0))
        assert isinstance(page, Page)
        assert [event.id for event in page.events] == [
            event.id for batch in batches for event in batch
        ]

    async def test_batches_of_several_channels_have_receipts_in_their_order(
        self, sender: JoiningLog, channel: str
    ) -> None:
        other = new_channel()
        batches = [
            [*numbered(channel, 1), *numbered(other, 2)],
            numbered(other, 1),
            [*numbered(other, 1), *numbered(channel, 1)],
        ]
        results = await sender.append_joined(batches)
        assert offsets(results) == [[1, 1, 2], [3], [4, 2]]
        for batch, result in zip(batches, results, strict=True):
            assert isinstance(result, list)
            assert [receipt.id for receipt in result] == [event.id for event in batch]

    async def test_repeated_batches_are_duplicates(self, sender: JoiningLog, channel: str) -> None:
        batches = [numbered(channel, 2), numbered(channel, 1)]
        await sender.append(batches[1])
        for duplicates in ([False, False, True], [True, True, True]):
            results = await sender.append_joined(batches)
            assert offsets(results) == [[2, 3], [1]]
            receipts = [one for result in results if isinstance(result, list) for one in result]
            assert [receipt.duplicate for receipt in receipts] == duplicates

    async def test_parallel_calls_give_each_event_an_offset(
        self, sender: JoiningLog, channel: str
    ) -> None:
        calls = [[numbered(channel, 1), numbered(channel, 1)] for _ in range(20)]
        results = await asyncio.gather(*map(sender.append_joined, calls))
        assert sorted(offset for one in results for batch in offsets(one) for offset in batch) == [
            *range(1, 41)
        ]


def offsets(results: list[Result]) -> list[list[int]]:
    """Return the offsets of each batch."""
    return [
        [receipt.position.offset for receipt in result if receipt.position]
        for result in results
        if isinstance(result, list)
    ]
