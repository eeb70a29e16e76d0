"""What every `Backend` must do with the events it is handed."""
# ruff: noqa: D102 -- a test's name is its sentence

import asyncio

import pytest

from realtime_bridge.backend.push import Backend
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.testing.contracts.samples import HARD_DATA, LARGEST, new_channel, numbered

PLENTY = 500
"""More events or channels than most providers take in one call."""


class BackendContract:
    """Subclass it and give the fixture `backend`, entered and able to push.

    A push is best effort, so that it arrives is for the backend's own tests. Here: whatever an
    `Event` may be, a push takes it or raises a `PublishError`, and the backend goes on.
    """

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def channel(self) -> str:
        """Return a channel of this test alone."""
        return new_channel()

    async def test_its_limits_leave_room_for_an_event(self, backend: Backend) -> None:
        assert backend.limits.event_bytes > 0
        assert backend.limits.events > 0
        assert backend.limits.channels > 0

    async def test_it_takes_no_events(self, backend: Backend) -> None:
        await backend.push([])

    async def test_it_takes_events_with_and_without_a_position(
        self, backend: Backend, channel: str
    ) -> None:
        await backend.push(numbered(channel, 1))
        await backend.push(_placed(numbered(channel, 2)))

    @pytest.mark.parametrize("sort", HARD_DATA)
    async def test_it_takes_all_that_json_can_say(
        self, backend: Backend, channel: str, sort: str
    ) -> None:
        event = Event(
            channel=channel, event="contract.data", data=HARD_DATA[sort], key="k", source="c_1"
        )
        await backend.push(_placed([event]))

    async def test_it_takes_the_largest_event_that_a_log_holds(
        self, backend: Backend, channel: str
    ) -> None:
        await backend.push(_placed([Event(channel=channel, event="contract.large", data=LARGEST)]))

    async def test_it_slices_what_is_more_than_its_limits(
        self, backend: Backend, channel: str
    ) -> None:
        await backend.push(_placed(numbered(channel, PLENTY)))
        await backend.push([numbered(new_channel(), 1)[0] for _ in range(PLENTY)])

    async def test_it_takes_the_same_event_again(self, backend: Backend, channel: str) -> None:
        events = _placed(numbered(channel, 1))
        await backend.push(events)
        await backend.push(events)

    async def test_it_takes_many_pushes_at_once(self, backend: Backend, channel: str) -> None:
        events = _placed(numbered(channel, 20))
        await asyncio.gather(*(backend.push([event]) for event in events))


def _placed(events: list[Event]) -> list[Event]:
    epoch = ids.epoch()
    return [
        event.with_position(Position(epoch, offset, event.id), 1_763_836_800_123)
        for offset, event in enumerate(events, start=1)
    ]
