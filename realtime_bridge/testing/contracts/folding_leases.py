"""Contract of a `FoldingLog`: leases of owners, and their lapse."""
# ruff: noqa: D102, PLR2004 -- a test's name states its condition and result, its numbers are offsets

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.model.page import Page
from realtime_bridge.model.receipt import Lease, Renewal
from realtime_bridge.testing.contracts.folding_events import (
    append,
    end,
    note,
    part,
    start,
    summary,
    write,
)
from realtime_bridge.testing.contracts.folding_histories import Elapse
from realtime_bridge.testing.contracts.log_base import LogContractBase, position_of


class FoldingLeaseContract(LogContractBase):
    """Tests of leases; a subclass provides `sender` and `elapse`."""

    @pytest.fixture
    def elapse(self) -> Elapse:
        """Return a function that makes these seconds pass for the leases of a channel."""
        raise NotImplementedError("give this suite a fixture elapse")

    async def test_silent_owner_is_ended_by_its_will(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        await append(sender, [start(channel), part(channel, "kept")])
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
        await append(sender, [start(channel), part(channel, "a")])
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
        await append(sender, [start(channel), note(channel)])
        for _ in range(3):
            await elapse(channel, 20)
            assert await sender.renew([Lease(channel, "k", "A")]) == [Renewal(None, 2)]
        assert (await receiver.positions([channel]))[channel].offset == 2
        await elapse(channel, 31)
        assert (await receiver.positions([channel]))[channel].offset == 3

    async def test_renewal_is_refused_like_a_write(self, sender: FoldingLog, channel: str) -> None:
        await append(sender, [start(channel), start(channel, key="ended")])
        await append(sender, [end(channel, key="ended"), write(channel, "plain", key="plain")])
        keys = (("k", "B"), ("ended", "A"), ("ended", "B"), ("plain", "A"), ("missing", "A"))
        renewals = await sender.renew([Lease(channel, *key) for key in keys])
        assert [renewal.refused for renewal in renewals] == [
            *("superseded", "ended", "superseded", "gone", "gone")
        ]

    async def test_take_without_lease_removes_the_former_lease(
        self, sender: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        events = [start(channel), start(channel, "B", lease=None, will=None)]
        await append(sender, events)
        await elapse(channel, 100)
        assert (await sender.positions([channel]))[channel].offset == 2

    async def test_lease_of_zero_removes_the_lease(
        self, sender: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        await append(sender, [start(channel), write(channel, "wait", attempt="A", lease=0)])
        await elapse(channel, 100)
        assert (await sender.positions([channel]))[channel].offset == 2

    async def test_lapses_come_by_expiry_and_key(
        self, sender: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        keys = (("b", 30), ("c", 10), ("a", 30))
        await append(sender, [start(channel, key=key, lease=lease) for key, lease in keys])
        await elapse(channel, 31)
        page = await sender.latest(channel)
        lapses = [event.key for event in page.events if event.fold == "lapse"]
        assert lapses == ["c", "a", "b"]

    async def test_rotated_epoch_keeps_owner_content_and_notes(
        self, sender: FoldingLog, receiver: FoldingLog, channel: str, elapse: Elapse
    ) -> None:
        events = [start(channel), part(channel, 1), part(channel, 2), note(channel, data="n")]
        *_, last = await append(sender, events)
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
