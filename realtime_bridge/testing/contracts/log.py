"""What every `Log` must promise, whoever asks it and from wherever."""
# ruff: noqa: D102 -- a test's name is its sentence, its numbers are what it appended

import asyncio

from realtime_bridge.backend.log import Log
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.testing.contracts.log_append import AppendContract
from realtime_bridge.testing.contracts.log_base import ANOTHER_EPOCH, fill, named, place, steps
from realtime_bridge.testing.contracts.log_read import ReadContract
from realtime_bridge.testing.contracts.samples import numbered


class LogContract(AppendContract, ReadContract):
    """Subclass it and give the fixture `sender`: the log under test, entered.

    Give `receiver` too where another process's view of the same log can be had. The log has to
    keep `history_events` a channel, at least 600, and 1 MiB of data.
    """

    async def test_latest_is_the_newest_event_of_each_key_in_order(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        await sender.append(
            [named(channel, n, key=key) for n, key in enumerate(["a", "b", None, "a", "c"])]
        )
        page = await receiver.latest(channel)
        assert [(event.key, event.data) for event in page.events] == [("b", 1), ("a", 3), ("c", 4)]
        assert [event.position for event in page.events] == [
            Position(page.top.epoch, offset) for offset in (2, 4, 5)
        ]
        assert (page.top.offset, page.more) == (5, False)

    async def test_latest_comes_in_pages(self, sender: Log, receiver: Log, channel: str) -> None:
        await sender.append([named(channel, n, key=f"k{n}") for n in range(5)])
        first = await receiver.latest(channel, limit=3)
        rest = await receiver.latest(channel, after=3, limit=3)
        assert ([event.data for event in first.events], first.more) == ([0, 1, 2], True)
        assert ([event.data for event in rest.events], rest.more) == ([3, 4], False)

    async def test_latest_outlives_the_history(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        await sender.append([named(channel, "done", key="job")])
        top = await fill(sender, channel, 2 * self.history_events)
        page = await receiver.latest(channel)
        assert [event.data for event in page.events] == ["done"]
        assert page.top == top

    async def test_latest_of_an_empty_channel_is_its_position(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        page = await receiver.latest(channel)
        assert page == Page(events=(), top=(await sender.positions([channel]))[channel])

    async def test_rotating_begins_an_epoch_in_which_nothing_is_known(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        before = place((await sender.append([named(channel, 1, key="k")]))[0].position)
        rotated = await receiver.rotate_epoch(channel, before.epoch)
        assert rotated.epoch != before.epoch
        assert rotated.offset == 0
        assert await sender.read(channel, before) == Reset(reason="epoch", top=rotated)
        assert (await sender.latest(channel)).events == ()
        (receipt,) = await sender.append([named(channel, 2)])
        assert receipt.position == Position(rotated.epoch, 1)

    async def test_rotating_an_epoch_that_has_ended_changes_nothing(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        (receipt,) = await sender.append(numbered(channel, 1))
        top = place(receipt.position)
        assert await receiver.rotate_epoch(channel, ANOTHER_EPOCH) == top
        assert await steps(receiver, channel) == [1]

    async def test_many_who_rotate_the_same_epoch_begin_one(
        self, sender: Log, receiver: Log, channel: str
    ) -> None:
        (receipt,) = await sender.append(numbered(channel, 1))
        seen = place(receipt.position).epoch
        rotated = await asyncio.gather(
            *(log.rotate_epoch(channel, seen) for log in (sender, receiver) * 5)
        )
        assert set(rotated) == {Position(rotated[0].epoch, 0)}
