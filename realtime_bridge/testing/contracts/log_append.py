"""Contract of every `Log` for publishers: offsets, ids, data and batches."""
# ruff: noqa: D102, PLR2004 -- a test's name states its condition and result, its numbers are offsets

import asyncio

import pytest

from realtime_bridge.backend.log import Log
from realtime_bridge.model.event import MAX_BATCH, Event
from realtime_bridge.testing.contracts.log_base import (
    LogContractBase,
    make_event,
    position_of,
    read_page,
    read_steps,
)
from realtime_bridge.testing.contracts.samples import (
    HARD_DATA,
    LARGEST,
    TRACEPARENT,
    content,
    new_channel,
    numbered,
)


class AppendContract(LogContractBase):
    """Offsets without gaps, each id stored once, data unchanged."""

    async def test_offsets_start_at_one_in_one_epoch(self, sender: Log, channel: str) -> None:
        events = numbered(channel, 3)
        receipts = [*await sender.append(events[:1]), *await sender.append(events[1:])]
        assert [receipt.id for receipt in receipts] == [event.id for event in events]
        assert [position_of(receipt).offset for receipt in receipts] == [1, 2, 3]
        assert len({position_of(receipt).epoch for receipt in receipts}) == 1
        assert not any(receipt.duplicate for receipt in receipts)

    async def test_empty_batch_returns_no_receipts(self, sender: Log) -> None:
        assert await sender.append([]) == []

    async def test_batch_with_two_channels_is_numbered_per_channel(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        other = new_channel()
        events, other_events = numbered(channel, 2), numbered(other, 2)
        receipts = await sender.append([events[0], other_events[0], events[1], other_events[1]])
        assert [position_of(receipt).offset for receipt in receipts] == [1, 1, 2, 2]
        assert await read_steps(receiver, channel) == await read_steps(receiver, other) == [1, 2]

    async def test_largest_batch_is_appended_at_once(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        receipts = await sender.append(numbered(channel, MAX_BATCH))
        assert position_of(receipts[-1]).offset == MAX_BATCH
        assert (await receiver.positions([channel]))[channel] == receipts[-1].position

    async def test_repeated_id_is_stored_once_with_its_first_data(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        (first,) = await sender.append([make_event(channel, "first", id="same")])
        await sender.append(numbered(channel, 1))
        (second,) = await sender.append([make_event(channel, "second", id="same")])
        assert (first.duplicate, second.duplicate) == (False, True)
        assert second.position == first.position
        page = await read_page(receiver, channel)
        assert [event.id for event in page.events].count("same") == 1
        assert page.events[0].data == "first"
        assert page.top.offset == 2

    async def test_id_repeated_within_a_batch_is_stored_once(
        self, sender: Log, channel: str
    ) -> None:
        events = [make_event(channel, n, id="same") for n in (1, 2)]
        one, two, other = await sender.append([*events, make_event(channel, 3)])
        assert (one.duplicate, two.duplicate) == (False, True)
        assert one.position == two.position
        assert other.position
        assert other.position.offset == 2

    async def test_same_id_on_another_channel_is_no_duplicate(
        self, sender: Log, channel: str
    ) -> None:
        receipts = await sender.append(
            [make_event(channel, 1, id="same"), make_event(new_channel(), 2, id="same")]
        )
        assert not any(receipt.duplicate for receipt in receipts)

    async def test_concurrent_appends_of_one_id_store_it_once(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        receipts = await asyncio.gather(
            *(log.append([make_event(channel, 0, id="same")]) for log in (sender, receiver) * 10)
        )
        assert sum(not receipt.duplicate for (receipt,) in receipts) == 1
        assert {receipt.position for (receipt,) in receipts} == {receipts[0][0].position}

    @pytest.mark.parametrize("kind", HARD_DATA)
    async def test_event_is_read_unchanged(
        self, sender: Log, receiver: Log, channel: str, kind: str
    ) -> None:
        event = Event(
            channel=channel,
            event="contract.données",
            data=HARD_DATA[kind],
            id="id 1",
            key="ключ:1",
            source="c_1",
            traceparent=TRACEPARENT,
        )
        (receipt,) = await sender.append([event])
        (event_read,) = (await read_page(receiver, channel)).events
        assert content(event_read) == content(event)
        assert event_read.position == receipt.position
        assert event_read.time is not None
        assert event_read.time > 1_600_000_000_000  # milliseconds, not seconds

    async def test_largest_event_is_read_unchanged(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        await sender.append([make_event(channel, LARGEST)])
        (event_read,) = (await read_page(receiver, channel)).events
        assert event_read.data == LARGEST

    async def test_concurrent_appends_leave_no_gap_and_keep_batch_order(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        # Two views that take turns find races between the processes of a shared log.
        batches = [numbered(channel, 5) for _ in range(20)]
        receipts = await asyncio.gather(
            *((sender, receiver)[n % 2].append(batch) for n, batch in enumerate(batches))
        )
        offsets = [[position_of(receipt).offset for receipt in batch] for batch in receipts]
        assert all(batch == sorted(batch) for batch in offsets)
        assert sorted(offset for batch in offsets for offset in batch) == list(range(1, 101))
        positions = {receipt.id: position_of(receipt) for batch in receipts for receipt in batch}
        page = await read_page(receiver, channel)
        assert [event.position for event in page.events] == sorted(
            positions.values(), key=lambda position: position.offset
        )
        assert all(positions[event.id] == event.position for event in page.events)
