"""Contract of a `FoldingLog`: the group of a key, its parts, notes and end."""
# ruff: noqa: D102, PLR2004 -- a test's name states its condition and result, its numbers are offsets

from typing import Any

import orjson
import pytest

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.testing.contracts.folding_events import (
    append,
    end,
    note,
    part,
    position_of_last,
    start,
    summary,
    write,
)
from realtime_bridge.testing.contracts.log_base import LogContractBase, read_page
from realtime_bridge.testing.contracts.samples import HARD_DATA, TRACEPARENT


class FoldingContentContract(LogContractBase):
    """Tests of what a key has; a subclass provides `sender`."""

    async def test_group_has_base_notes_and_merged_parts(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        events = [start(channel), part(channel, 1, "a"), note(channel, data=1), part(channel)]
        events += [part(channel, {"x": None})]
        await append(sender, events)
        page = await receiver.latest(channel, key="k")
        assert summary(page) == [
            *(("run.started", "A"), ("run.note", 1), ("run.part", [1, "a", {"x": None}])),
        ]
        merged = page.events[2]
        assert (merged.id, merged.position) == (events[4].id, Position(page.top.epoch, 5))
        assert [event.fold for event in page.events] == [None, "note", "append"]
        assert [event.attempt for event in page.events] == ["A", None, "A"]
        assert (page.top.offset, page.more) == (5, False)

    async def test_trace_context_of_an_owner_is_read(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        await append(sender, [start(channel), part(channel, 1, traceparent=TRACEPARENT)])
        page = await read_page(receiver, channel)
        assert [event.traceparent for event in page.events] == [None, TRACEPARENT]

    async def test_end_stays_with_the_items_and_drops_notes(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        events = [start(channel), part(channel, 1), note(channel), end(channel)]
        *_, ended = await sender.append(events)
        page = await receiver.latest(channel, key="k")
        assert [event.fold for event in page.events] == [None, "append", "end"]
        assert ended.noted == 0

    async def test_general_snapshot_leaves_parts_out(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        await append(sender, [start(channel), write(channel, "plain", 7, key="other")])
        await append(sender, [part(channel, "x"), part(channel, "y")])
        page = await receiver.latest(channel)
        assert summary(page) == [("run.started", "A"), ("plain", 7)]
        assert page.top.offset == 4

    async def test_key_that_does_not_exist_has_an_empty_group(
        self, sender: FoldingLog, channel: str
    ) -> None:
        await sender.append([start(channel)])
        page = await sender.latest(channel, key="missing")
        assert (page.events, page.top.offset) == ((), 1)

    async def test_plain_key_has_its_latest_event_as_group(
        self, sender: FoldingLog, channel: str
    ) -> None:
        await sender.append([write(channel, "plain", n) for n in range(3)])
        assert summary(await sender.latest(channel, key="k")) == [("plain", 2)]

    async def test_take_over_drops_content_but_keeps_notes(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        events = [start(channel), part(channel, "old"), note(channel, data="kept")]
        await append(sender, [*events, start(channel, "B"), part(channel, "new", attempt="B")])
        assert summary(await receiver.latest(channel, key="k")) == [
            *(("run.note", "kept"), ("run.started", "B"), ("run.part", ["new"]))
        ]

    async def test_newest_note_of_each_of_eight_names_is_kept(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        await sender.append([start(channel)])
        names = [f"note.{n % 9}" for n in range(20)]
        *_, last = await sender.append([note(channel, name, n) for n, name in enumerate(names)])
        kept = summary(await receiver.latest(channel, key="k"))[1:]
        assert kept == [(f"note.{n % 9}", n) for n in range(12, 20)]
        assert last.noted == 21

    async def test_merged_items_equal_the_items_of_all_parts(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        items = [HARD_DATA, ["a,b", '"],["'], "", [], {}, None, 0.1, "Grüße 🚀"]
        parts = [part(channel, *items[n : n + size]) for n, size in ((0, 1), (1, 3), (4, 0))]
        await append(sender, [start(channel), *parts, part(channel, *items[4:])])
        merged = (await receiver.latest(channel, key="k")).events[-1]
        assert merged.body == orjson.dumps(items)

    @pytest.mark.parametrize("size", [1_023, 1_024, 1_025, 2_047, 2_048, 2_049])
    async def test_items_of_any_size_are_merged(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str, size: int
    ) -> None:
        # A log may divide the items: at a size, before a comma, or within a character.
        items: list[Any] = ["x" * (size - 2), "é", "y" * (size - 3), 7]
        await append(sender, [start(channel), *(part(channel, item) for item in items[:2])])
        await append(sender, [part(channel, *items[2:])])
        merged = (await receiver.latest(channel, key="k")).events[-1]
        assert merged.body == orjson.dumps(items)

    async def test_part_without_items_is_in_the_group(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        await append(sender, [start(channel), part(channel)])
        assert summary(await receiver.latest(channel, key="k"))[1:] == [("run.part", [])]

    async def test_many_small_parts_are_merged(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        await sender.append([start(channel)])
        for begin in range(0, 2_000, 400):
            await append(sender, [part(channel, f"token {n}") for n in range(begin, begin + 400)])
        merged = (await receiver.latest(channel, key="k")).events[-1]
        assert merged.data == [f"token {n}" for n in range(2_000)]

    async def test_general_snapshot_is_paged_by_whole_keys(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        for number in range(6):
            key = f"k{number}"
            await append(sender, [start(channel, key=key), note(channel, "a", key=key)])
        await append(sender, [part(channel, 1, key="k0"), end(channel, key="k1")])
        groups, after, more = [], 0, True
        while more:
            page = await receiver.latest(channel, after=after, limit=5)
            groups.append([event.key for event in page.events])
            after, more = position_of_last(page), page.more
        assert groups == [["k0"] * 2 + ["k2"] * 2, ["k3"] * 2 + ["k4"] * 2, ["k5"] * 2 + ["k1"] * 2]

    async def test_history_has_every_part_as_its_own_event(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        events = [start(channel), part(channel, 1), part(channel, 2), end(channel)]
        await append(sender, events)
        epoch = (await receiver.positions([channel]))[channel].epoch
        page = await receiver.read(channel, Position(epoch, 0))
        assert isinstance(page, Page)
        assert [event.id for event in page.events] == [event.id for event in events]
        assert [event.fold for event in page.events] == [None, "append", "append", "end"]
        assert [event.data for event in page.events[1:3]] == [[1], [2]]
