"""Contract of every `Log` for readers: positions, pages and resets."""
# ruff: noqa: D102 -- a test's name states its condition and result

import asyncio

import pytest

from realtime_bridge.backend.log import Log
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.testing.contracts.log_base import (
    ANOTHER_EPOCH,
    LogContractBase,
    append_numbered,
    make_event,
    position_of,
    read_page,
    read_steps,
)
from realtime_bridge.testing.contracts.samples import new_channel, numbered


class ReadContract(LogContractBase):
    """Exactly the events after a position, or a reset with its reason."""

    async def test_concurrent_readers_get_one_position_of_empty_channel(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        answers = await asyncio.gather(
            *(log.positions([channel]) for log in (sender, receiver) * 5)
        )
        assert {answer[channel] for answer in answers} == {answers[0][channel]}
        assert answers[0][channel].offset == 0
        assert answers[0][channel].id is None

    async def test_first_append_keeps_epoch_of_empty_channel(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        start = (await receiver.positions([channel]))[channel]
        assert await receiver.read(channel, start) == Page(events=(), top=start)
        (receipt,) = await sender.append(numbered(channel, 1))
        assert receipt.position == Position(start.epoch, 1)
        page = await receiver.read(channel, start)
        assert isinstance(page, Page)
        assert [event.data for event in page.events] == [{"step": 1}]

    async def test_read_of_empty_channel_starts_its_epoch(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        answer = await receiver.read(channel, Position(ANOTHER_EPOCH, 0))
        assert (await sender.positions([channel]))[channel] == answer.top

    async def test_positions_return_top_offsets_with_their_ids(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        other, empty = new_channel(), new_channel()
        *_, last = await sender.append(numbered(channel, 3))
        (only,) = await sender.append(numbered(other, 1))
        tops = await receiver.positions([channel, other, empty])
        assert set(tops) == {channel, other, empty}
        assert (tops[channel], tops[channel].id) == (last.position, last.id)
        assert (tops[other], tops[other].id) == (only.position, only.id)
        assert tops[empty].offset == 0

    async def test_read_returns_exactly_the_later_events(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        receipts = await sender.append(numbered(channel, 5))
        for receipt in receipts:
            after = position_of(receipt)
            page = await receiver.read(channel, Position(after.epoch, after.offset, receipt.id))
            assert isinstance(page, Page)
            assert [event.data["step"] for event in page.events] == [*range(after.offset + 1, 6)]
            assert (page.top, page.top.id) == (receipts[-1].position, receipts[-1].id)
            assert not page.more

    async def test_position_without_id_is_accepted(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        first, *_ = await sender.append(numbered(channel, 3))
        page = await receiver.read(channel, Position(position_of(first).epoch, 1))
        assert isinstance(page, Page)
        assert [event.data["step"] for event in page.events] == [2, 3]

    async def test_position_in_another_epoch_is_a_reset(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        *_, last = await sender.append(numbered(channel, 2))
        answer = await receiver.read(channel, Position(ANOTHER_EPOCH, 1))
        assert answer == Reset(reason="epoch", top=position_of(last))
        assert answer.top.id == last.id

    async def test_position_after_the_top_is_a_reset(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        (last,) = await sender.append(numbered(channel, 1))
        top = position_of(last)
        answer = await receiver.read(channel, Position(top.epoch, 2, "of-the-future"))
        assert answer == Reset(reason="ahead", top=top)

    @pytest.mark.parametrize("offset", [1, 2, 3])
    async def test_position_with_another_id_is_a_reset(
        self, sender: Log, receiver: Log, channel: str, offset: int
    ) -> None:
        *_, last = await sender.append(numbered(channel, 3))
        top = position_of(last)
        answer = await receiver.read(channel, Position(top.epoch, offset, "of-a-lost-tail"))
        assert answer == Reset(reason="regressed", top=top)

    async def test_read_of_a_false_position_changes_nothing(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        *_, last = await sender.append(numbered(channel, 3))
        top = position_of(last)
        for position in (
            Position(ANOTHER_EPOCH, 1),
            Position(top.epoch, 9),
            Position(top.epoch, 3, "x"),
        ):
            await receiver.read(channel, position)
        assert (await sender.positions([channel]))[channel] == top
        assert await read_steps(receiver, channel) == [1, 2, 3]

    async def test_trimmed_history_is_complete_or_a_reset(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        top = await append_numbered(sender, channel, 2 * self.history_events)
        oldest = top.offset - self.history_events + 1
        # Logs may trim late: after offsets between 1 and `oldest` both answers are correct.
        assert await read_steps(receiver, channel, after=oldest) == [
            *range(oldest + 1, top.offset + 1)
        ]
        for offset in (0, 1):
            answer = await receiver.read(channel, Position(top.epoch, offset))
            assert answer == Reset(reason="truncated", top=top)

    async def test_long_history_is_read_in_pages(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        top = await append_numbered(sender, channel, PAGE_EVENTS + 50)
        start = Position(top.epoch, 0)
        for limit in (PAGE_EVENTS, 10 * PAGE_EVENTS):
            page = await receiver.read(channel, start, limit)
            assert isinstance(page, Page)
            assert (len(page.events), page.top, page.more) == (PAGE_EVENTS, top, True)
        assert await read_steps(receiver, channel) == [*range(1, top.offset + 1)]

    async def test_page_has_at_most_the_requested_events(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        await sender.append(numbered(channel, 7))
        start = Position((await receiver.positions([channel]))[channel].epoch, 0)
        page = await receiver.read(channel, start, 3)
        assert isinstance(page, Page)
        assert [event.data["step"] for event in page.events] == [1, 2, 3]
        assert page.more
        exact = await receiver.read(channel, start, 7)
        assert isinstance(exact, Page)
        assert not exact.more

    async def test_page_is_limited_in_bytes(self, sender: Log, receiver: Log, channel: str) -> None:
        body = "x" * (PAGE_BYTES // 2)
        await sender.append([make_event(channel, [n, body[:-100]]) for n in range(3)])
        page = await read_page(receiver, channel)
        assert ([event.data[0] for event in page.events], page.more) == ([0, 1], True)
