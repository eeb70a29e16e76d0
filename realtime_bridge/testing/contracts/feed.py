"""Contract of every `Feed`: announcements of appended events, in order per channel."""
# ruff: noqa: D102 -- a test's name states its condition and result

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from realtime_bridge.backend.feed import EphemeralFeed, Feed, FeedInterrupted, Listener
from realtime_bridge.backend.log import Log
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.testing.contracts.samples import (
    HARD_DATA,
    LARGEST,
    TRACEPARENT,
    content,
    new_channel,
    numbered,
)

Stream = AsyncIterator[Sequence[Event] | FeedInterrupted]


class FeedContract:
    """Tests of a feed; a subclass provides the fixtures `sender` and `receiver`.

    `sender` is a `Log`, `receiver` the `Feed` under test. They may be one object; two objects
    test the way between two processes.
    """

    pytestmark: ClassVar[pytest.MarkDecorator] = pytest.mark.asyncio

    timeout: float = 10.0
    """Longest wait for an announcement, in seconds."""

    @pytest.fixture
    def channel(self) -> str:
        """Return a channel that no other test uses."""
        return new_channel()

    async def test_events_arrive_in_order_after_subscribing(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._listen(receiver, channel) as (_, stream):
            for event in numbered(channel, 20):
                await sender.append([event])
            await sender.append(numbered(channel, 80, start=21))
            arrivals = await self._receive(stream, 100)
        assert [event.data["step"] for event in arrivals] == list(range(1, 101))
        assert [event.position and event.position.offset for event in arrivals] == [*range(1, 101)]

    async def test_event_arrives_unchanged_with_its_position(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        events = [
            Event(
                channel=channel,
                event="contract.data",
                data=data,
                key=f"k {kind}",
                source="c_1",
                traceparent=TRACEPARENT,
            )
            for kind, data in HARD_DATA.items()
        ]
        async with self._listen(receiver, channel) as (_, stream):
            receipts = await sender.append(events)
            arrivals = await self._receive(stream, len(events))
        assert list(map(content, arrivals)) == list(map(content, events))
        assert [event.position for event in arrivals] == [receipt.position for receipt in receipts]
        assert all(event.time for event in arrivals)

    async def test_largest_event_arrives_unchanged(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._listen(receiver, channel) as (_, stream):
            await sender.append([Event(channel=channel, event="contract.large", data=LARGEST)])
            (event,) = await self._receive(stream, 1)
        assert event.data == LARGEST

    async def test_concurrent_appends_arrive_in_order_of_offsets(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._listen(receiver, channel) as (_, stream):
            await asyncio.gather(*(sender.append(numbered(channel, 5)) for _ in range(20)))
            arrivals = await self._receive(stream, 100)
        assert [event.position and event.position.offset for event in arrivals] == [*range(1, 101)]

    async def test_repeated_id_is_announced_with_its_first_data(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._listen(receiver, channel) as (_, stream):
            for data in ("first", "second"):
                await sender.append(
                    [Event(channel=channel, event="contract.again", data=data, id="same")]
                )
            first, repeated = await self._receive(stream, 2)
        assert (repeated.data, repeated.position) == ("first", first.position)

    async def test_other_channels_do_not_arrive(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._listen(receiver, channel) as (_, stream):
            await sender.append(numbered(new_channel(), 1))
            await sender.append(numbered(channel, 1))
            (event,) = await self._receive(stream, 1)
        assert event.channel == channel

    async def test_later_subscription_receives_later_events(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._listen(receiver, new_channel()) as (listener, stream):
            await sender.append(numbered(channel, 1))
            await listener.subscribe([channel])
            await sender.append(numbered(channel, 1, start=2))
            (event,) = await self._receive(stream, 1)
        assert event.data == {"step": 2}

    async def test_events_of_a_new_epoch_arrive(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._listen(receiver, channel) as (_, stream):
            await sender.append(numbered(channel, 3))
            *_, last = await self._receive(stream, 3)
            assert last.position
            await sender.rotate_epoch(channel, last.position.epoch)
            (receipt,) = await sender.append(numbered(channel, 1, start=4))
            (event,) = await self._receive(stream, 1)
        assert event.position == receipt.position

    async def test_unsubscribed_channel_does_not_arrive(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        other = new_channel()
        async with self._listen(receiver, channel, other) as (listener, stream):
            await listener.unsubscribe([channel])
            await sender.append(numbered(channel, 1))
            await sender.append(numbered(other, 1))
            (event,) = await self._receive(stream, 1)
        assert event.channel == other

    async def test_channel_is_subscribed_again_after_unsubscribing(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with self._listen(receiver, channel) as (listener, stream):
            await listener.unsubscribe([channel])
            await sender.append(numbered(channel, 1))
            await listener.subscribe([channel])
            await sender.append(numbered(channel, 1, start=2))
            (event,) = await self._receive(stream, 1)
        assert event.data == {"step": 2}

    async def test_unsubscribing_does_not_affect_other_listeners(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        async with (
            self._listen(receiver, channel) as (_, stream),
            self._listen(receiver, channel) as (other_listener, _),
        ):
            await other_listener.unsubscribe([channel])
            await sender.append(numbered(channel, 3))
            assert len(await self._receive(stream, 3)) == 3  # noqa: PLR2004 -- as many as appended

    async def test_closing_a_listener_ends_its_stream(self, receiver: Feed, channel: str) -> None:
        async with receiver.listen() as listener:
            await listener.subscribe([channel])
            stream_task = asyncio.create_task(_receive_all(listener))
            await asyncio.sleep(0)  # the stream waits for events when the listener closes
        async with asyncio.timeout(self.timeout):
            assert await stream_task == []

    async def test_ephemeral_events_arrive_and_are_not_kept(
        self, sender: Log, receiver: Feed, channel: str
    ) -> None:
        if not isinstance(sender, EphemeralFeed):
            return  # the log carries no such events
        texts = ["1", "ä\u20ac\U0001f600\n\x00" * 4_000, "1", '{"n":1.0}']
        sent = [EphemeralEvent(channel, "client-x", text, "s", "u") for text in texts]
        arrivals: asyncio.Queue[EphemeralEvent] = asyncio.Queue()
        async with self._listen(receiver, channel) as (listener, stream):
            listener.on_ephemeral = arrivals.put_nowait
            before = await sender.positions([channel])
            await sender.send_ephemeral(EphemeralEvent(new_channel(), "client-x", "other"))
            for event in sent:
                await sender.send_ephemeral(event)
            await sender.append(numbered(channel, 1))
            (appended,) = await self._receive(stream, 1)
            async with asyncio.timeout(self.timeout):
                assert [await arrivals.get() for _ in sent] == sent
            top = before[channel]
            page = await sender.read(channel, top)
        assert isinstance(page, Page)
        assert [event.id for event in page.events] == [appended.id]
        assert appended.position
        assert appended.position.offset == top.offset + 1

    @asynccontextmanager
    async def _listen(self, feed: Feed, *channels: str) -> AsyncGenerator[tuple[Listener, Stream]]:
        async with asyncio.timeout(3 * self.timeout), feed.listen() as listener:
            await listener.subscribe(channels)
            yield listener, aiter(listener)

    async def _receive(self, stream: Stream, count: int) -> list[Event]:
        arrivals: list[Event] = []
        async with asyncio.timeout(self.timeout):
            while len(arrivals) < count:
                turn = await anext(stream)
                arrivals += [] if isinstance(turn, FeedInterrupted) else turn
        return arrivals


async def _receive_all(listener: Listener) -> list[Event]:
    return [
        event async for turn in listener if not isinstance(turn, FeedInterrupted) for event in turn
    ]
