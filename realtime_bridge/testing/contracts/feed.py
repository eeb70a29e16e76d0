"""What every `Feed` must let its process hear."""
# ruff: noqa: D102 -- a test's name is its sentence

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from realtime_bridge.backend.feed import Feed, FeedInterrupted, Listener
from realtime_bridge.backend.log import Log
from realtime_bridge.model.event import Event
from realtime_bridge.testing.contracts.samples import (
    HARD_DATA,
    LARGEST,
    content,
    new_channel,
    numbered,
)

Stream = AsyncIterator[Sequence[Event] | FeedInterrupted]


class FeedContract:
    """Subclass it and give the fixtures `sender`, a `Log`, and `receiver`, the `Feed` under test.

    They may be one object. Best they are two, as two processes would have them.
    """

    pytestmark = pytest.mark.asyncio

    patience = 10.0
    """The longest to wait for what must come, in seconds."""

    @pytest.fixture
    def channel(self) -> str:
        """Return a channel of this test alone."""
        return new_channel()

    async def test_what_is_appended_after_a_channel_was_added_is_heard_in_order(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._hearing(receiver, channel) as (_, stream):
            for event in numbered(channel, 20):
                await sender.append([event])
            await sender.append(numbered(channel, 80, start=21))
            heard = await self._hear(stream, 100)
        assert [event.data["step"] for event in heard] == list(range(1, 101))
        assert [event.position and event.position.offset for event in heard] == [*range(1, 101)]

    async def test_an_event_is_heard_exactly_as_it_was_numbered(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        events = [
            Event(channel=channel, event="contract.data", data=data, key=f"k {sort}", source="c_1")
            for sort, data in HARD_DATA.items()
        ]
        async with self._hearing(receiver, channel) as (_, stream):
            receipts = await sender.append(events)
            heard = await self._hear(stream, len(events))
        assert list(map(content, heard)) == list(map(content, events))
        assert [event.position for event in heard] == [receipt.position for receipt in receipts]
        assert all(event.time for event in heard)

    async def test_the_largest_event_is_heard(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._hearing(receiver, channel) as (_, stream):
            await sender.append([Event(channel=channel, event="contract.large", data=LARGEST)])
            (heard,) = await self._hear(stream, 1)
        assert heard.data == LARGEST

    async def test_appends_at_once_are_heard_in_the_order_of_their_offsets(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._hearing(receiver, channel) as (_, stream):
            await asyncio.gather(*(sender.append(numbered(channel, 5)) for _ in range(20)))
            heard = await self._hear(stream, 100)
        assert [event.position and event.position.offset for event in heard] == [*range(1, 101)]

    async def test_a_repeated_id_is_announced_again_with_the_first_data(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._hearing(receiver, channel) as (_, stream):
            for data in ("first", "second"):
                await sender.append(
                    [Event(channel=channel, event="contract.again", data=data, id="same")]
                )
            first, again = await self._hear(stream, 2)
        assert (again.data, again.position) == ("first", first.position)

    async def test_channels_that_were_not_added_are_not_heard(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._hearing(receiver, channel) as (_, stream):
            await sender.append(numbered(new_channel(), 1))
            await sender.append(numbered(channel, 1))
            (heard,) = await self._hear(stream, 1)
        assert heard.channel == channel

    async def test_a_channel_added_later_is_heard_from_then_on(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._hearing(receiver, new_channel()) as (listener, stream):
            await sender.append(numbered(channel, 1))
            await listener.subscribe([channel])
            await sender.append(numbered(channel, 1, start=2))
            (heard,) = await self._hear(stream, 1)
        assert heard.data == {"step": 2}

    async def test_a_discarded_channel_is_heard_no_more(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        other = new_channel()
        async with self._hearing(receiver, channel, other) as (listener, stream):
            await listener.unsubscribe([channel])
            await sender.append(numbered(channel, 1))
            await sender.append(numbered(other, 1))
            (heard,) = await self._hear(stream, 1)
        assert heard.channel == other

    async def test_a_channel_may_be_discarded_and_added_again(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._hearing(receiver, channel) as (listener, stream):
            await listener.unsubscribe([channel])
            await sender.append(numbered(channel, 1))
            await listener.subscribe([channel])
            await sender.append(numbered(channel, 1, start=2))
            (heard,) = await self._hear(stream, 1)
        assert heard.data == {"step": 2}

    async def test_listeners_do_not_disturb_each_other(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with (
            self._hearing(receiver, channel) as (_, mine),
            self._hearing(receiver, channel) as (leaving, _),
        ):
            await leaving.unsubscribe([channel])
            await sender.append(numbered(channel, 3))
            assert len(await self._hear(mine, 3)) == 3  # noqa: PLR2004 -- as many as appended

    async def test_closing_a_listener_ends_its_stream(self, receiver: Feed, channel: str) -> None:
        async with receiver.listen() as listener:
            await listener.subscribe([channel])
            hearing = asyncio.create_task(_to_the_end(listener))
            await asyncio.sleep(0)
        async with asyncio.timeout(self.patience):
            assert await hearing == []

    @asynccontextmanager
    async def _hearing(self, feed: Feed, *channels: str) -> AsyncGenerator[tuple[Listener, Stream]]:
        async with asyncio.timeout(3 * self.patience), feed.listen() as listener:
            await listener.subscribe(channels)
            yield listener, aiter(listener)

    async def _hear(self, stream: Stream, count: int) -> list[Event]:
        heard: list[Event] = []
        async with asyncio.timeout(self.patience):
            while len(heard) < count:
                turn = await anext(stream)
                heard += [] if isinstance(turn, FeedInterrupted) else turn
        return heard


async def _to_the_end(listener: Listener) -> list[Event]:
    return [
        event async for turn in listener if not isinstance(turn, FeedInterrupted) for event in turn
    ]
