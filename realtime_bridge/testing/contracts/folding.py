"""Contract of every `FoldingLog`: keys with owners, their parts, notes, ends and leases."""
# ruff: noqa: D102, PLR2004 -- a test's name states its condition and result, its numbers are offsets

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import orjson
import pytest

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import MAX_CONTENT_BYTES
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.testing.contracts.folding_histories import Elapse, compare_history
from realtime_bridge.testing.contracts.log_base import LogContractBase, position_of
from realtime_bridge.testing.contracts.samples import HARD_DATA

LEASE: dict[str, Any] = {"lease": 30, "will": {"event": "run.lost", "data": {"state": "lost"}}}


def write(channel: str, event: str, data: Any = None, *, key: str = "k", **fields: Any) -> Event:
    """Create an event of a key."""
    return Event(channel=channel, event=event, data=data, key=key, **fields)


def start(channel: str, attempt: str = "A", *, key: str = "k", **fields: Any) -> Event:
    """Create the event by which an attempt takes a key over."""
    take = {"take": "always", **LEASE, **fields}
    return write(channel, "run.started", attempt, key=key, attempt=attempt, **take)


def part(channel: str, *items: Any, attempt: str = "A", key: str = "k", **fields: Any) -> Event:
    """Create an event that adds items."""
    return write(
        channel, "run.part", list(items), key=key, fold="append", attempt=attempt, **fields
    )


def end(channel: str, attempt: str = "A", *, key: str = "k", **fields: Any) -> Event:
    """Create the event that ends a key."""
    return write(channel, "run.ended", None, key=key, fold="end", attempt=attempt, **fields)


def note(channel: str, name: str = "run.note", data: Any = None, *, key: str = "k") -> Event:
    """Create a note."""
    return write(channel, name, data, key=key, fold="note")


def summary(page: Page) -> list[tuple[str, Any]]:
    """Return the name and the data of each event."""
    return [(event.event, event.data) for event in page.events]


STATES: dict[str, Callable[[str], list[Event]]] = {
    "none": lambda _: [],
    "plain": lambda channel: [write(channel, "plain")],
    "noted": lambda channel: [write(channel, "plain"), note(channel)],
    "open": lambda channel: [start(channel)],
    "full": lambda channel: [start(channel), part(channel, "x" * (MAX_CONTENT_BYTES - 4))],
    "ended": lambda channel: [start(channel), end(channel)],
    "ended by authority": lambda channel: [end(channel, "queue", take="open")],
}
WRITES: dict[str, Callable[[str], Event]] = {
    "plain": lambda channel: write(channel, "plain"),
    "note": note,
    "take always": lambda channel: start(channel, "B"),
    "take open": lambda channel: end(channel, "B", take="open"),
    "take absent": lambda channel: start(channel, "B", take="absent"),
    "own replace": lambda channel: write(channel, "run.progress", attempt="A"),
    "own append": lambda channel: part(channel, 1),
    "own end": end,
    "other append": lambda channel: part(channel, 1, attempt="B"),
    "other end": lambda channel: end(channel, "B"),
}
# Written out, cell by cell: a table computed from the rules would repeat their mistakes.
REFUSALS: dict[str, tuple[str | None, ...]] = {
    # plain, note, always, open, absent, own replace, own append, own end, other append, other end
    "none": (None, "gone", None, None, None, "gone", "gone", "gone", "gone", "gone"),
    "plain": (None, None, None, None, None, "gone", "gone", "gone", "gone", "gone"),
    "noted": (None, None, None, None, None, "gone", "gone", "gone", "gone", "gone"),
    "open": (
        *("owned", None, None, None, "superseded", None, None, None),
        *("superseded", "superseded"),
    ),
    "full": (
        *("owned", None, None, None, "superseded", None, "full", None),
        *("superseded", "superseded"),
    ),
    "ended": (
        *("owned", "ended", None, "ended", "superseded", "ended", "ended", "ended"),
        *("superseded", "superseded"),
    ),
    "ended by authority": (
        *("owned", "ended", None, "ended", "superseded", "superseded", "superseded"),
        *("superseded", "superseded", "superseded"),
    ),
}
CELLS = [
    (state, name, refusal)
    for state, refusals in REFUSALS.items()
    for name, refusal in zip(WRITES, refusals, strict=True)
]


class FoldingLogContract(LogContractBase):
    """Tests of a log that folds; a subclass provides `sender` and `elapse`."""

    histories: ClassVar[Sequence[int]] = range(10)
    """Seeds of the random histories that are compared with the model."""

    @pytest.fixture
    def elapse(self) -> Elapse:
        """Return a function that makes these seconds pass for the leases of a channel."""
        raise NotImplementedError("give this suite a fixture elapse")

    @pytest.mark.parametrize(("state", "name", "refusal"), CELLS)
    async def test_each_write_is_accepted_or_refused_by_the_state(
        self, sender: FoldingLog, channel: str, state: str, name: str, refusal: str | None
    ) -> None:
        await _append(sender, STATES[state](channel))
        top = (await sender.positions([channel]))[channel]
        event = WRITES[name](channel)
        (receipt,) = await sender.append([event])
        assert receipt.refused == refusal
        after = (await sender.positions([channel]))[channel]
        if refusal is None:
            assert receipt.position == after == Position(top.epoch, top.offset + 1)
        else:
            assert receipt.position is None
            assert (after, after.id) == (top, top.id)
            # The id of a refused event is unknown: the same event is accepted after a take-over.
            await sender.append([start(channel)])
            (again,) = await sender.append([WRITES["take always"](channel)])
            assert not again.duplicate

    async def test_owner_may_take_an_absent_key_again(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        batch = [start(channel, take="absent"), part(channel, 1), part(channel, 2)]
        await _append(sender, batch)
        # A rotated epoch keeps the key, and no ids: a lost answer makes a writer publish again.
        epoch = (await sender.positions([channel]))[channel].epoch
        await receiver.rotate_epoch(channel, epoch)
        await _append(sender, batch)
        page = await receiver.latest(channel, key="k")
        assert summary(page) == [("run.started", "A"), ("run.part", [1, 2])]
        await _append(sender, [end(channel)])
        ended, superseded = await sender.append(
            [start(channel, take="absent"), start(channel, "B", take="absent")]
        )
        assert (ended.refused, superseded.refused) == ("ended", "superseded")

    async def test_group_has_base_notes_and_merged_parts(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        events = [start(channel), part(channel, 1, "a"), note(channel, data=1), part(channel)]
        events += [part(channel, {"x": None})]
        await _append(sender, events)
        page = await receiver.latest(channel, key="k")
        assert summary(page) == [
            *(("run.started", "A"), ("run.note", 1), ("run.part", [1, "a", {"x": None}])),
        ]
        merged = page.events[2]
        assert (merged.id, merged.position) == (events[4].id, Position(page.top.epoch, 5))
        assert [event.fold for event in page.events] == [None, "note", "append"]
        assert [event.attempt for event in page.events] == ["A", None, "A"]
        assert (page.top.offset, page.more) == (5, False)

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
        await _append(sender, [start(channel), write(channel, "plain", 7, key="other")])
        await _append(sender, [part(channel, "x"), part(channel, "y")])
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
        await _append(sender, [*events, start(channel, "B"), part(channel, "new", attempt="B")])
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

    async def test_receipts_report_the_newest_note(self, sender: FoldingLog, channel: str) -> None:
        first, noted, second, refused, repeated = await sender.append(
            [
                *(start(channel, id="first"), note(channel), part(channel, 1)),
                *(part(channel, 1, attempt="B"), start(channel, id="first")),
            ]
        )
        assert [one.noted for one in (first, noted, second, refused, repeated)] == [0, 2, 2, 2, 2]
        assert (repeated.duplicate, repeated.refused) == (True, None)

    async def test_known_id_gets_its_first_receipt_and_no_refusal(
        self, sender: FoldingLog, channel: str
    ) -> None:
        event = part(channel, 1)
        _, first = await sender.append([start(channel), event])
        again, refused = await sender.append([start(channel, "B"), event])
        assert (again.refused, refused.refused) == (None, None)
        assert (refused.position, refused.duplicate) == (first.position, True)

    async def test_events_of_a_batch_are_checked_in_order(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        receipts = await sender.append(
            [
                *(part(channel, 1), start(channel), part(channel, 2)),
                *(start(channel, "B"), part(channel, 3), end(channel, "B"), note(channel)),
            ]
        )
        assert [receipt.refused for receipt in receipts] == [
            *("gone", None, None, None, "superseded", None, "ended")
        ]
        offsets = [receipt.position.offset for receipt in receipts if receipt.position]
        assert offsets == [1, 2, 3, 4]
        assert summary(await receiver.latest(channel, key="k")) == [
            *(("run.started", "B"), ("run.ended", None))
        ]

    async def test_merged_items_equal_the_items_of_all_parts(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        items = [HARD_DATA, ["a,b", '"],["'], "", [], {}, None, 0.1, "Grüße 🚀"]
        parts = [part(channel, *items[n : n + size]) for n, size in ((0, 1), (1, 3), (4, 0))]
        await _append(sender, [start(channel), *parts, part(channel, *items[4:])])
        merged = (await receiver.latest(channel, key="k")).events[-1]
        assert merged.body == orjson.dumps(items)

    @pytest.mark.parametrize("size", [1_023, 1_024, 1_025, 2_047, 2_048, 2_049])
    async def test_items_of_any_size_are_merged(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str, size: int
    ) -> None:
        # A log may divide the items: at a size, before a comma, or within a character.
        items: list[Any] = ["x" * (size - 2), "é", "y" * (size - 3), 7]
        await _append(sender, [start(channel), *(part(channel, item) for item in items[:2])])
        await _append(sender, [part(channel, *items[2:])])
        merged = (await receiver.latest(channel, key="k")).events[-1]
        assert merged.body == orjson.dumps(items)

    async def test_part_without_items_is_in_the_group(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        await _append(sender, [start(channel), part(channel)])
        assert summary(await receiver.latest(channel, key="k"))[1:] == [("run.part", [])]

    async def test_many_small_parts_are_merged(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        await sender.append([start(channel)])
        for begin in range(0, 2_000, 400):
            await _append(sender, [part(channel, f"token {n}") for n in range(begin, begin + 400)])
        merged = (await receiver.latest(channel, key="k")).events[-1]
        assert merged.data == [f"token {n}" for n in range(2_000)]

    async def test_content_has_a_limit_and_the_end_is_still_accepted(
        self, sender: FoldingLog, channel: str
    ) -> None:
        half = "x" * (MAX_CONTENT_BYTES // 2)
        one, two, three, last = await sender.append(
            [start(channel), part(channel, half), part(channel, half), end(channel)]
        )
        assert [receipt.refused for receipt in (one, two, three, last)] == [
            None,
            None,
            "full",
            None,
        ]

    async def test_general_snapshot_is_paged_by_whole_keys(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        for number in range(6):
            key = f"k{number}"
            await _append(sender, [start(channel, key=key), note(channel, "a", key=key)])
        await _append(sender, [part(channel, 1, key="k0"), end(channel, key="k1")])
        groups, after, more = [], 0, True
        while more:
            page = await receiver.latest(channel, after=after, limit=5)
            groups.append([event.key for event in page.events])
            after, more = position_of_last(page), page.more
        assert groups == [["k0"] * 2 + ["k2"] * 2, ["k3"] * 2 + ["k4"] * 2, ["k5"] * 2 + ["k1"] * 2]

    async def test_silent_owner_is_ended_by_its_will(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        await _append(sender, [start(channel), part(channel, "kept")])
        await elapse(channel, 29)
        assert (await receiver.positions([channel]))[channel].offset == 2
        await elapse(channel, 2)
        assert (await receiver.positions([channel]))[channel].offset == 3
        page = await receiver.latest(channel, key="k")
        assert summary(page) == [
            *(("run.started", "A"), ("run.part", ["kept"]), ("run.lost", {"state": "lost"}))
        ]
        lapse = page.events[-1]
        assert (lapse.fold, lapse.attempt, lapse.id) == ("lapse", "A", "A-lapse-3")
        await elapse(channel, 100)
        assert (await receiver.positions([channel]))[channel].offset == 3

    @pytest.mark.parametrize("operation", ["read", "latest", "positions", "renew", "append"])
    async def test_each_operation_ends_silent_owners(
        self, sender: FoldingLog, channel: str, elapse: Elapse, operation: str
    ) -> None:
        (receipt,) = await sender.append([start(channel)])
        await elapse(channel, 31)
        top = position_of(receipt)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "read": lambda: sender.read(channel, top),
            "latest": lambda: sender.latest(channel),
            "positions": lambda: sender.positions([channel]),
            "renew": lambda: sender.renew([Lease(channel, "other", "A")]),
            "append": lambda: sender.append([write(channel, "plain", key="other")]),
        }
        await calls[operation]()
        page = await sender.read(channel, top)
        assert isinstance(page, Page)
        assert page.events[-1].event == "run.lost"
        assert len(page.events) == 1 + (operation == "append")

    async def test_write_of_a_lapsed_owner_revives_the_key(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        await _append(sender, [start(channel), part(channel, "a")])
        await elapse(channel, 31)
        assert (await sender.renew([Lease(channel, "k", "A")])) == [Renewal("lapsed")]
        (noted, receipt) = await sender.append([note(channel), part(channel, "b")])
        assert (noted.refused, receipt.refused) == (None, None)
        assert [name for name, _ in summary(await receiver.latest(channel, key="k"))] == [
            *("run.started", "run.note", "run.part")
        ]
        await elapse(channel, 31)  # the lease began again: one lapse for each silence
        page = await receiver.latest(channel, key="k")
        assert summary(page)[-1][0] == "run.lost"
        assert summary(page)[-2] == ("run.part", ["a", "b"])

    async def test_late_append_of_an_owner_comes_before_the_lapse(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        await sender.append([start(channel)])
        await elapse(channel, 31)
        (receipt,) = await sender.append([part(channel, "late")])
        assert position_of(receipt).offset == 2
        assert (await receiver.positions([channel]))[channel].offset == 2

    async def test_renewals_keep_a_silent_owner(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        await _append(sender, [start(channel), note(channel)])
        for _ in range(3):
            await elapse(channel, 20)
            assert await sender.renew([Lease(channel, "k", "A")]) == [Renewal(None, 2)]
        assert (await receiver.positions([channel]))[channel].offset == 2
        await elapse(channel, 31)
        assert (await receiver.positions([channel]))[channel].offset == 3

    async def test_renewal_is_refused_like_a_write(self, sender: FoldingLog, channel: str) -> None:
        await _append(sender, [start(channel), start(channel, key="ended")])
        await _append(sender, [end(channel, key="ended"), write(channel, "plain", key="plain")])
        keys = (("k", "B"), ("ended", "A"), ("ended", "B"), ("plain", "A"), ("missing", "A"))
        renewals = await sender.renew([Lease(channel, *key) for key in keys])
        assert [renewal.refused for renewal in renewals] == [
            *("superseded", "ended", "superseded", "gone", "gone")
        ]

    async def test_take_without_lease_removes_the_former_lease(
        self, sender: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        events = [start(channel), start(channel, "B", lease=None, will=None)]
        await _append(sender, events)
        await elapse(channel, 100)
        assert (await sender.positions([channel]))[channel].offset == 2

    async def test_lease_of_zero_removes_the_lease(
        self, sender: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        await _append(sender, [start(channel), write(channel, "wait", attempt="A", lease=0)])
        await elapse(channel, 100)
        assert (await sender.positions([channel]))[channel].offset == 2

    async def test_lapses_come_by_expiry_and_key(
        self, sender: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        keys = (("b", 30), ("c", 10), ("a", 30))
        await _append(sender, [start(channel, key=key, lease=lease) for key, lease in keys])
        await elapse(channel, 31)
        page = await sender.latest(channel)
        lapses = [event.key for event in page.events if event.fold == "lapse"]
        assert lapses == ["c", "a", "b"]

    async def test_rotated_epoch_keeps_owner_content_and_notes(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        events = [start(channel), part(channel, 1), part(channel, 2), note(channel, data="n")]
        *_, last = await _append(sender, events)
        before = summary(await sender.latest(channel, key="k"))
        rotated = await receiver.rotate_epoch(channel, position_of(last).epoch)
        page = await receiver.latest(channel, key="k")
        assert (summary(page), page.top) == (before, rotated)
        assert (rotated.offset, rotated.id) == (3, events[-1].id)
        refused, own = await sender.append([part(channel, 3, attempt="B"), part(channel, 3)])
        assert (refused.refused, own.refused, own.noted) == ("superseded", None, 3)
        assert summary(await receiver.latest(channel, key="k"))[-1] == ("run.part", [1, 2, 3])
        await elapse(channel, 31)
        assert summary(await receiver.latest(channel, key="k"))[-1][0] == "run.lost"

    async def test_random_histories_agree_with_the_model(
        self, sender: FoldingLog, elapse: Elapse
    ) -> None:
        for seed in self.histories:
            await compare_history(sender, elapse, seed)

    async def test_history_has_every_part_as_its_own_event(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str
    ) -> None:
        events = [start(channel), part(channel, 1), part(channel, 2), end(channel)]
        await _append(sender, events)
        epoch = (await receiver.positions([channel]))[channel].epoch
        page = await receiver.read(channel, Position(epoch, 0))
        assert isinstance(page, Page)
        assert [event.id for event in page.events] == [event.id for event in events]
        assert [event.fold for event in page.events] == [None, "append", "append", "end"]
        assert [event.data for event in page.events[1:3]] == [[1], [2]]


async def _append(log: FoldingLog, events: Sequence[Event]) -> list[Receipt]:
    receipts = await log.append(events)
    assert [receipt.refused for receipt in receipts] == [None] * len(events)
    return receipts


def position_of_last(page: Page) -> int:
    """Return the offset of a page's last event."""
    position = page.events[-1].position
    assert position
    return position.offset
