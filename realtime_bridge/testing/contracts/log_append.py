"""What every `Log` must promise to who appends."""
# ruff: noqa: D102, PLR2004 -- a test's name is its sentence, its numbers are what it appended

import asyncio

import pytest

from realtime_bridge.backend.log import Log
from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.testing.contracts.log_base import LogSuite, named, place, read, steps
from realtime_bridge.testing.contracts.samples import (
    HARD_DATA,
    LARGEST,
    content,
    new_channel,
    numbered,
)


class AppendContract(LogSuite):
    """Numbers without gaps, each id once, all data as it was."""

    async def test_offsets_count_from_one_in_one_epoch(self, sender: Log, channel: str) -> None:
        events = numbered(channel, 3)
        receipts = [*await sender.append(events[:1]), *await sender.append(events[1:])]
        assert [receipt.id for receipt in receipts] == [event.id for event in events]
        assert [place(receipt.position).offset for receipt in receipts] == [1, 2, 3]
        assert len({place(receipt.position).epoch for receipt in receipts}) == 1
        assert not any(receipt.duplicate for receipt in receipts)

    async def test_appending_nothing_gives_no_receipts(self, sender: Log) -> None:
        assert await sender.append([]) == []

    async def test_a_batch_may_go_to_several_channels(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        other = new_channel()
        mine, theirs = numbered(channel, 2), numbered(other, 2)
        receipts = await sender.append([mine[0], theirs[0], mine[1], theirs[1]])
        assert [place(receipt.position).offset for receipt in receipts] == [1, 1, 2, 2]
        assert await steps(receiver, channel) == await steps(receiver, other) == [1, 2]

    async def test_a_full_batch_is_taken_at_once(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        receipts = await sender.append(numbered(channel, MAX_BATCH))
        assert place(receipts[-1].position).offset == MAX_BATCH
        assert (await receiver.positions([channel]))[channel] == receipts[-1].position

    async def test_a_repeated_id_is_stored_once_and_its_first_data_wins(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        (first,) = await sender.append([named(channel, "first", id="same")])
        await sender.append(numbered(channel, 1))
        (again,) = await sender.append([named(channel, "second", id="same")])
        assert (first.duplicate, again.duplicate) == (False, True)
        assert again.position == first.position
        page = await read(receiver, channel)
        assert [event.id for event in page.events].count("same") == 1
        assert page.events[0].data == "first"
        assert page.top.offset == 2

    async def test_an_id_repeated_within_a_batch_is_stored_once(
        self, sender: Log, channel: str
    ) -> None:
        one, two = await sender.append([named(channel, n, id="same") for n in (1, 2)])
        assert (one.duplicate, two.duplicate) == (False, True)
        assert one.position == two.position

    async def test_an_id_is_known_only_on_its_channel(self, sender: Log, channel: str) -> None:
        receipts = await sender.append(
            [named(channel, 1, id="same"), named(new_channel(), 2, id="same")]
        )
        assert not any(receipt.duplicate for receipt in receipts)

    async def test_many_publishers_of_one_id_store_it_once(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        receipts = await asyncio.gather(
            *(log.append([named(channel, 0, id="same")]) for log in (sender, receiver) * 10)
        )
        assert sum(not receipt.duplicate for (receipt,) in receipts) == 1
        assert {receipt.position for (receipt,) in receipts} == {receipts[0][0].position}

    @pytest.mark.parametrize("sort", HARD_DATA)
    async def test_an_event_is_read_exactly_as_it_was_appended(
        self, sender: Log, receiver: Log, channel: str, sort: str
    ) -> None:
        event = Event(
            channel=channel,
            event="contract.données",
            data=HARD_DATA[sort],
            id="id 1",
            key="ключ:1",
            source="c_1",
        )
        (receipt,) = await sender.append([event])
        (held,) = (await read(receiver, channel)).events
        assert content(held) == content(event)
        assert held.position == receipt.position
        assert held.time is not None
        assert held.time > 1_600_000_000_000

    async def test_the_largest_event_is_read_whole(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        await sender.append([named(channel, LARGEST)])
        (held,) = (await read(receiver, channel)).events
        assert held.data == LARGEST

    async def test_appends_at_once_leave_no_gap_and_keep_the_order_of_each_batch(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        batches = [numbered(channel, 5) for _ in range(20)]
        receipts = await asyncio.gather(
            *((sender, receiver)[n % 2].append(batch) for n, batch in enumerate(batches))
        )
        offsets = [[place(receipt.position).offset for receipt in batch] for batch in receipts]
        assert all(batch == sorted(batch) for batch in offsets)
        assert sorted(offset for batch in offsets for offset in batch) == list(range(1, 101))
        by_id = {receipt.id: receipt.position for batch in receipts for receipt in batch}
        page = await read(receiver, channel)
        assert [event.position for event in page.events] == sorted(
            by_id.values(), key=lambda position: place(position).offset
        )
        assert all(by_id[event.id] == event.position for event in page.events)
