"""What every `Log` must promise to who reads."""
# ruff: noqa: D102 -- a test's name is its sentence, its numbers are what it appended

import asyncio

import pytest

from realtime_bridge.backend.log import Log
from realtime_bridge.model.page import PAGE_BYTES, PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.testing.contracts.log_base import (
    ANOTHER_EPOCH,
    LogSuite,
    fill,
    named,
    place,
    read,
    steps,
)
from realtime_bridge.testing.contracts.samples import new_channel, numbered


class ReadContract(LogSuite):
    """Exactly what follows a position, or a reset that says why not."""

    async def test_an_empty_channel_has_a_position_on_which_all_agree(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        asked = await asyncio.gather(*(log.positions([channel]) for log in (sender, receiver) * 5))
        assert {found[channel] for found in asked} == {asked[0][channel]}
        assert asked[0][channel].offset == 0
        assert asked[0][channel].id is None

    async def test_an_empty_channel_goes_on_in_the_epoch_that_was_told(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        start = (await receiver.positions([channel]))[channel]
        assert await receiver.read(channel, start) == Page(events=(), top=start)
        (receipt,) = await sender.append(numbered(channel, 1))
        assert receipt.position == Position(start.epoch, 1)
        page = await receiver.read(channel, start)
        assert isinstance(page, Page)
        assert [event.data for event in page.events] == [{"step": 1}]

    async def test_reading_begins_an_epoch_as_asking_for_the_position_does(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        answer = await receiver.read(channel, Position(ANOTHER_EPOCH, 0))
        assert (await sender.positions([channel]))[channel] == answer.top

    async def test_positions_are_the_tops_with_the_ids_there(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        other, empty = new_channel(), new_channel()
        *_, last = await sender.append(numbered(channel, 3))
        (only,) = await sender.append(numbered(other, 1))
        found = await receiver.positions([channel, other, empty])
        assert set(found) == {channel, other, empty}
        assert (found[channel], found[channel].id) == (last.position, last.id)
        assert (found[other], found[other].id) == (only.position, only.id)
        assert found[empty].offset == 0

    async def test_reading_gives_exactly_what_follows_without_a_gap(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        receipts = await sender.append(numbered(channel, 5))
        for receipt in receipts:
            after = place(receipt.position)
            page = await receiver.read(channel, Position(after.epoch, after.offset, receipt.id))
            assert isinstance(page, Page)
            assert [event.data["step"] for event in page.events] == [*range(after.offset + 1, 6)]
            assert (page.top, page.top.id) == (receipts[-1].position, receipts[-1].id)
            assert not page.more

    async def test_a_position_without_an_id_is_taken_at_its_word(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        first, *_ = await sender.append(numbered(channel, 3))
        page = await receiver.read(channel, Position(place(first.position).epoch, 1))
        assert isinstance(page, Page)
        assert [event.data["step"] for event in page.events] == [2, 3]

    async def test_another_epoch_is_a_reset(self, sender: Log, receiver: Log, channel: str) -> None:
        *_, last = await sender.append(numbered(channel, 2))
        answer = await receiver.read(channel, Position(ANOTHER_EPOCH, 1))
        assert answer == Reset(reason="epoch", top=place(last.position))
        assert answer.top.id == last.id

    async def test_a_position_beyond_the_top_is_a_reset(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        (last,) = await sender.append(numbered(channel, 1))
        top = place(last.position)
        answer = await receiver.read(channel, Position(top.epoch, 2, "of the future"))
        assert answer == Reset(reason="ahead", top=top)

    @pytest.mark.parametrize("offset", [1, 2, 3])
    async def test_another_id_at_the_position_is_a_reset(
        self, sender: Log, receiver: Log, channel: str, offset: int
    ) -> None:
        *_, last = await sender.append(numbered(channel, 3))
        top = place(last.position)
        answer = await receiver.read(channel, Position(top.epoch, offset, "of a lost tail"))
        assert answer == Reset(reason="regressed", top=top)

    async def test_what_a_client_claims_changes_nothing(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        *_, last = await sender.append(numbered(channel, 3))
        top = place(last.position)
        for claim in (
            Position(ANOTHER_EPOCH, 1),
            Position(top.epoch, 9),
            Position(top.epoch, 3, "x"),
        ):
            await receiver.read(channel, claim)
        assert (await sender.positions([channel]))[channel] == top
        assert await steps(receiver, channel) == [1, 2, 3]

    async def test_a_trimmed_history_is_read_whole_or_is_a_reset(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        top = await fill(sender, channel, 2 * self.history_events)
        oldest = top.offset - self.history_events + 1
        assert await steps(receiver, channel, after=oldest) == [*range(oldest + 1, top.offset + 1)]
        for offset in (0, 1):
            answer = await receiver.read(channel, Position(top.epoch, offset))
            assert answer == Reset(reason="truncated", top=top)

    async def test_a_long_history_is_read_in_pages(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        top = await fill(sender, channel, PAGE_EVENTS + 50)
        start = Position(top.epoch, 0)
        for limit in (PAGE_EVENTS, 10 * PAGE_EVENTS):
            page = await receiver.read(channel, start, limit)
            assert isinstance(page, Page)
            assert (len(page.events), page.top, page.more) == (PAGE_EVENTS, top, True)
        assert await steps(receiver, channel) == [*range(1, top.offset + 1)]

    async def test_a_page_holds_no_more_than_asked(
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

    async def test_a_page_is_bounded_in_bytes(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        body = "x" * (PAGE_BYTES // 2)
        await sender.append([named(channel, [n, body[:-100]]) for n in range(3)])
        page = await read(receiver, channel)
        assert ([event.data[0] for event in page.events], page.more) == ([0, 1], True)
