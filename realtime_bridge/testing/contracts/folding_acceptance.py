"""Contract of a `FoldingLog`: which writes of a key it accepts."""
# ruff: noqa: D102 -- a test's name states its condition and result, its numbers are offsets

from collections.abc import Callable

import pytest

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import MAX_CONTENT_BYTES
from realtime_bridge.model.position import Position
from realtime_bridge.testing.contracts.folding_events import (
    append,
    end,
    note,
    part,
    start,
    summary,
    write,
)
from realtime_bridge.testing.contracts.log_base import LogContractBase

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


class FoldingAcceptanceContract(LogContractBase):
    """Tests of accepted and refused writes; a subclass provides `sender`."""

    @pytest.mark.parametrize(("state", "name", "refusal"), CELLS)
    async def test_each_write_is_accepted_or_refused_by_the_state(
        self, sender: FoldingLog, channel: str, state: str, name: str, refusal: str | None
    ) -> None:
        await append(sender, STATES[state](channel))
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
        await append(sender, batch)
        # A rotated epoch keeps the key, and no ids: a lost answer makes a writer publish again.
        epoch = (await sender.positions([channel]))[channel].epoch
        await receiver.rotate_epoch(channel, epoch)
        await append(sender, batch)
        page = await receiver.latest(channel, key="k")
        assert summary(page) == [("run.started", "A"), ("run.part", [1, 2])]
        await append(sender, [end(channel)])
        ended, superseded = await sender.append(
            [start(channel, take="absent"), start(channel, "B", take="absent")]
        )
        assert (ended.refused, superseded.refused) == ("ended", "superseded")

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
