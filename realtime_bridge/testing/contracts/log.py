"""Contract of every `Log`: appends, reads, latest events and epochs."""
# ruff: noqa: D102 -- a test's name states its condition and result

import asyncio

from realtime_bridge.backend.log import Log
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.testing.contracts.log_append import AppendContract
from realtime_bridge.testing.contracts.log_base import (
    ANOTHER_EPOCH,
    append_numbered,
    make_event,
    position_of,
    read_steps,
)
from realtime_bridge.testing.contracts.log_read import ReadContract
from realtime_bridge.testing.contracts.samples import content, numbered


class LogContract(AppendContract, ReadContract):
    """Tests of a log; a subclass provides the fixture `sender`, the opened log under test.

    The fixture `receiver` is optional: another process's view of the same log. The log keeps
    `history_events` events in each channel, at least 600, and 1 MiB of data.
    """

    async def test_latest_returns_newest_event_of_each_key_in_order(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        await sender.append(
            [make_event(channel, n, key=key) for n, key in enumerate(["a", "b", None, "a", "c"])]
        )
        page = await receiver.latest(channel)
        assert [(event.key, event.data) for event in page.events] == [("b", 1), ("a", 3), ("c", 4)]
        assert [event.position for event in page.events] == [
            Position(page.top.epoch, offset) for offset in (2, 4, 5)
        ]
        assert (page.top.offset, page.more) == (5, False)

    async def test_latest_is_read_in_pages(self, sender: Log, receiver: Log, channel: str) -> None:
        await sender.append([make_event(channel, n, key=f"k{n}") for n in range(5)])
        first = await receiver.latest(channel, limit=3)
        rest = await receiver.latest(channel, after=3, limit=3)
        assert ([event.data for event in first.events], first.more) == ([0, 1, 2], True)
        assert ([event.data for event in rest.events], rest.more) == ([3, 4], False)

    async def test_latest_event_survives_trimming_of_history(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        await sender.append([make_event(channel, "done", key="job")])
        top = await append_numbered(sender, channel, 2 * self.history_events)
        page = await receiver.latest(channel)
        assert [event.data for event in page.events] == ["done"]
        assert page.top == top

    async def test_latest_of_empty_channel_returns_its_position(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        page = await receiver.latest(channel)
        assert page == Page(events=(), top=(await sender.positions([channel]))[channel])

    async def test_rotated_epoch_without_keys_starts_empty(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        before = position_of((await sender.append([make_event(channel, 1)]))[0])
        rotated = await receiver.rotate_epoch(channel, before.epoch)
        assert rotated.epoch != before.epoch
        assert (rotated.offset, rotated.id) == (0, None)
        assert await sender.read(channel, before) == Reset(reason="epoch", top=rotated)
        assert (await sender.latest(channel)).events == ()
        (receipt,) = await sender.append([make_event(channel, 2)])
        assert receipt.position == Position(rotated.epoch, 1)

    async def test_rotated_epoch_keeps_latest_event_of_each_key(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        keyed = zip(range(7), ("a", None, "b", "a", "c", None, "d"), strict=True)
        events = [make_event(channel, n, id=f"id {n}", key=key) for n, key in keyed]
        receipts = await sender.append(events)
        before = (await sender.latest(channel)).events
        rotated = await receiver.rotate_epoch(channel, position_of(receipts[0]).epoch)
        assert (rotated.offset, rotated.id) == (4, "id 6")
        page = await sender.latest(channel)
        assert page.top == rotated
        assert [content(event) for event in page.events] == [content(event) for event in before]
        assert [event.time for event in page.events] == [event.time for event in before]
        assert [event.position for event in page.events] == [
            Position(rotated.epoch, offset) for offset in (1, 2, 3, 4)
        ]

    async def test_rotated_epoch_reads_and_pages_by_its_new_offsets(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        keyed = [make_event(channel, n, id=f"id {n}", key=f"k{n}") for n in range(5)]
        receipts = await sender.append(keyed)
        rotated = await receiver.rotate_epoch(channel, position_of(receipts[0]).epoch)
        first = await receiver.latest(channel, limit=3)
        rest = await receiver.latest(channel, after=3, limit=3)
        assert ([event.data for event in first.events], first.more) == ([0, 1, 2], True)
        assert ([event.data for event in rest.events], rest.more) == ([3, 4], False)
        # As after a trim: only the event at the top is in the history.
        truncated = Reset(reason="truncated", top=rotated)
        assert await sender.read(channel, Position(rotated.epoch, 0)) == truncated
        assert await sender.read(channel, rotated) == Page(events=(), top=rotated)
        (receipt,) = await sender.append([make_event(channel, "new", id="new", key="k1")])
        assert receipt.position == Position(rotated.epoch, 6)
        page = await receiver.read(channel, rotated)
        assert isinstance(page, Page)
        assert [event.data for event in page.events] == ["new"]
        latest = (await receiver.latest(channel)).events
        assert [event.data for event in latest] == [0, 2, 3, 4, "new"]

    async def test_event_of_ended_epoch_is_appended_again_after_rotation(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        event = make_event(channel, 1, id="same", key="k")
        (before,) = await sender.append([event])
        await receiver.rotate_epoch(channel, position_of(before).epoch)
        (receipt,) = await sender.append([event])
        assert (position_of(receipt).offset, receipt.duplicate) == (2, False)
        latest = (await receiver.latest(channel)).events
        assert [event.position for event in latest] == [receipt.position]

    async def test_epoch_can_be_rotated_twice(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        await sender.append([make_event(channel, 1, key="k"), make_event(channel, 2)])
        for log in (sender, receiver):
            top = (await log.positions([channel]))[channel]
            rotated = await log.rotate_epoch(channel, top.epoch)
            assert rotated.offset == 1
            assert [event.data for event in (await receiver.latest(channel)).events] == [1]

    async def test_rotating_an_ended_epoch_changes_nothing(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        (receipt,) = await sender.append(numbered(channel, 1))
        top = position_of(receipt)
        assert await receiver.rotate_epoch(channel, ANOTHER_EPOCH) == top
        assert await read_steps(receiver, channel) == [1]

    async def test_concurrent_rotations_start_one_epoch(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        (receipt,) = await sender.append(numbered(channel, 1))
        epoch = position_of(receipt).epoch
        rotated = await asyncio.gather(
            *(log.rotate_epoch(channel, epoch) for log in (sender, receiver) * 5)
        )
        assert set(rotated) == {Position(rotated[0].epoch, 0)}
