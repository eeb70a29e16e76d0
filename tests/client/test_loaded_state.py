"""States that were loaded from a log which lost its newest events afterwards."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Self

from msgspec.structs import replace as replace_struct

from realtime_bridge.client import HybridClient, PresenceReader, StreamReader
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from tests.protocol.streams.samples import CHANNEL, EPOCH, STREAM, ended, part, started

TIMEOUT = 5.0


class RolledBackClient(HybridClient):
    """Client whose log loses events after the first state was loaded.

    Args:
        states: the state before the loss, and the one after it.
        events: the events of the channel after the loss.

    """

    def __init__(self, states: Sequence[Page], events: Sequence[Event]) -> None:
        super().__init__("http://127.0.0.1:1/realtime", [CHANNEL], token="unused")
        self._states = list(states)
        self._events = events

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End nothing: it has no tasks."""

    async def wait_subscribed(self) -> tuple[str, Position]:
        return CHANNEL, Position(EPOCH, 0)

    async def read_key(self, channel: str, key: str) -> Page:
        return self._states.pop(0)

    async def read_latest(self, channel: str) -> Page:
        return self._states.pop(0)

    async def __aiter__(self) -> AsyncIterator[Event]:
        for event in self._events:
            yield event
        await asyncio.Event().wait()


def at(event: Event, event_id: str | None = None) -> Event:
    """Return an event with another id, and its id in its position."""
    name, position = event_id or event.id, event.position
    assert position
    return replace_struct(event, id=name, position=replace_struct(position, id=name))


def page(*events: Event) -> Page:
    top = events[-1].position
    assert top
    return Page(events=events, top=top)


async def test_stream_is_loaded_again_where_the_log_has_another_event() -> None:
    lost, kept = at(part(3, "lost"), "lost"), at(ended(3))
    states = [
        page(at(started()), at(part(2, "a")), lost),
        page(at(started()), at(part(2, "a")), kept),
    ]
    async with asyncio.timeout(TIMEOUT):
        reader = StreamReader(RolledBackClient(states, [kept]), CHANNEL, STREAM)
        async with reader:
            assert [item async for item in reader] == ["a", "lost"]
    assert (reader.snapshot.state, reader.snapshot.items) == ("completed", ("a",))


async def test_members_are_loaded_again_where_the_log_has_another_event() -> None:
    ada, lost, cyd = member("ada", 1), at(member("bob", 2), "lost"), member("cyd", 2)
    client = RolledBackClient([page(ada, lost), page(ada, cyd)], [cyd])
    async with asyncio.timeout(TIMEOUT), PresenceReader(client, CHANNEL) as reader:
        change = await anext(reader)
        assert (change.kind, change.member.user) == ("joined", "cyd")


def member(user: str, offset: int) -> Event:
    data = json.dumps({"user": user, "info": None}).encode()
    write = KeyWrite(None, "node")
    joined = Event.internal(CHANNEL, "presence.joined", data, id=user, key=f"{user}-1", write=write)
    return replace_struct(joined, position=Position(EPOCH, offset, user))
