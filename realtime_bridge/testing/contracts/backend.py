"""Contract of every `Backend`: a push accepts any valid event, or raises `PublishError`."""
# ruff: noqa: D102 -- a test's name states its condition and result

import asyncio
from typing import ClassVar

import pytest

from realtime_bridge.backend.push import Backend
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.testing.contracts.samples import HARD_DATA, LARGEST, new_channel, numbered

MANY = 500
"""More events or channels than most providers accept in one call."""


class BackendContract:
    """Tests of a backend; a subclass provides the fixture `backend`, opened and able to push.

    A push is best effort, so a backend's own tests check its delivery. These tests check that
    a push accepts every valid `Event` or raises a `PublishError`, and that the backend
    continues to work.
    """

    pytestmark: ClassVar[pytest.MarkDecorator] = pytest.mark.asyncio

    @pytest.fixture
    def channel(self) -> str:
        """Return a channel that no other test uses."""
        return new_channel()

    async def test_limits_leave_room_for_an_event(self, backend: Backend) -> None:
        assert backend.limits.event_bytes > 0
        assert backend.limits.events > 0
        assert backend.limits.channels > 0

    async def test_empty_batch_is_accepted(self, backend: Backend) -> None:
        await backend.push([])

    async def test_events_with_and_without_position_are_accepted(
        self, backend: Backend, channel: str
    ) -> None:
        await backend.push(numbered(channel, 1))
        await backend.push(_with_positions(numbered(channel, 2)))

    @pytest.mark.parametrize("kind", HARD_DATA)
    async def test_every_kind_of_json_data_is_accepted(
        self, backend: Backend, channel: str, kind: str
    ) -> None:
        event = Event(
            channel=channel, event="contract.data", data=HARD_DATA[kind], key="k", source="c_1"
        )
        await backend.push(_with_positions([event]))

    async def test_largest_event_of_a_log_is_accepted(self, backend: Backend, channel: str) -> None:
        await backend.push(
            _with_positions([Event(channel=channel, event="contract.large", data=LARGEST)])
        )

    async def test_batch_over_the_limits_is_divided(self, backend: Backend, channel: str) -> None:
        await backend.push(_with_positions(numbered(channel, MANY)))
        await backend.push([numbered(new_channel(), 1)[0] for _ in range(MANY)])

    async def test_repeated_event_is_accepted(self, backend: Backend, channel: str) -> None:
        events = _with_positions(numbered(channel, 1))
        await backend.push(events)
        await backend.push(events)

    async def test_concurrent_pushes_are_accepted(self, backend: Backend, channel: str) -> None:
        events = _with_positions(numbered(channel, 20))
        await asyncio.gather(*(backend.push([event]) for event in events))


def _with_positions(events: list[Event]) -> list[Event]:
    epoch = ids.epoch()
    return [
        event.with_position(Position(epoch, offset, event.id), 1_763_836_800_123)
        for offset, event in enumerate(events, start=1)
    ]
