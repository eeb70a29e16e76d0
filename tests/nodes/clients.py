"""Clients that record their events, and checks that no event is missing or repeated."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Self

from realtime_bridge import Event
from realtime_bridge.client import ChannelDenied, ChannelReset, HybridClient
from realtime_bridge.model.position import Position
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import SECRET
from tests.nodes.cluster import Published

OPENED_AT_ONCE = 50


class RecordingClient:
    """HybridClient that records events, positions and resets."""

    def __init__(self, url: str, user: str, channels: Sequence[str]) -> None:
        token = Tokens(SECRET, issuer="realtime").issue(user, channels=channels, seconds=3_600)
        self.client = HybridClient(url, channels, token=token)
        self.channels = channels
        self.positions: dict[str, Position | None] = dict.fromkeys(channels)
        self.ids: dict[str, list[str]] = defaultdict(list)
        self.received: list[tuple[str, Position, str]] = []
        self.resets: list[ChannelReset] = []
        self.changed = asyncio.Event()

    async def subscribe(self) -> None:
        """Wait until all channels are subscribed."""
        for _ in self.channels:
            channel, start = await self.client.wait_subscribed()
            self.positions[channel] = self.positions[channel] or start

    async def listen(self) -> None:
        """Record the events; they are contiguous in one epoch, or follow a reset."""
        async for item in self.client:
            assert not isinstance(item, ChannelDenied), item
            if isinstance(item, ChannelReset):
                self.resets.append(item)
            else:
                self._record(item)
            self.positions[item.channel] = item.position
            self.changed.set()

    def _record(self, event: Event) -> None:
        last, position = self.positions[event.channel], event.position
        assert last
        assert position == Position(last.epoch, last.offset + 1), f"{position} after {last}"
        self.received.append((event.channel, position, event.id))
        self.ids[event.channel].append(event.id)

    def is_at(self, tops: dict[str, Position]) -> bool:
        """Return whether the client has every event up to these positions."""
        return all(self.positions[channel] == tops[channel] for channel in self.channels)

    async def wait_until_at(self, tops: dict[str, Position]) -> None:
        """Wait until the client has every event up to these positions."""
        while not self.is_at(tops):
            self.changed.clear()
            await self.changed.wait()

    def check(self, published: Published) -> None:
        """Check that no event came twice, and none is missing on channels without a reset."""
        reset_channels = {reset.channel for reset in self.resets}
        for channel in self.channels:
            ids = self.ids[channel]
            assert len(ids) == len(set(ids)), f"{channel}: an event came twice"
            if channel not in reset_channels:
                missing = published.ids[channel] - set(ids)
                assert not missing, f"{channel}: {len(missing)} acknowledged events are missing"


class Clients:
    """Group of clients with one address; each subscribes to some of the channels."""

    def __init__(self, url: str, clients: int, channels: Sequence[str], *, each: int) -> None:
        self.clients = [
            RecordingClient(url, f"user-{number}", _channels_of(channels, number, each))
            for number in range(clients)
        ]
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            tasks = await exits.enter_async_context(asyncio.TaskGroup())
            for start in range(0, len(self.clients), OPENED_AT_ONCE):
                group = self.clients[start : start + OPENED_AT_ONCE]
                for client in group:
                    await exits.enter_async_context(client.client)
                await asyncio.gather(*(client.subscribe() for client in group))
                for client in group:
                    exits.callback(tasks.create_task(client.listen()).cancel)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    @property
    def resets(self) -> list[ChannelReset]:
        return [reset for client in self.clients for reset in client.resets]

    @property
    def statuses(self) -> list[str]:
        """Kind of each client's connection status."""
        return [client.client.status.kind for client in self.clients]

    def are_at(self, tops: dict[str, Position]) -> bool:
        """Return whether every client has every event up to these positions."""
        return all(client.is_at(tops) for client in self.clients)

    def have_reached(self, tops: Mapping[str, Position]) -> bool:
        """Return whether every client has at least the events up to these positions."""
        return all(
            (position := client.positions[channel]) is not None
            and position.epoch == tops[channel].epoch
            and position.offset >= tops[channel].offset
            for client in self.clients
            for channel in client.channels
        )

    async def wait_until_at(self, tops: dict[str, Position], *, seconds: float) -> None:
        """Wait until every client has every event up to these positions."""
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(client.wait_until_at(tops) for client in self.clients))

    async def until_received(self, events: int) -> None:
        """Wait until the first client has received this number of events."""
        first = self.clients[0]
        while sum(map(len, first.ids.values())) < events:
            first.changed.clear()
            await first.changed.wait()

    def check(self, published: Published) -> None:
        """Check every client, and that each position has one event."""
        ids: dict[tuple[str, Position], str] = {}
        for client in self.clients:
            client.check(published)
            for channel, position, event_id in client.received:
                assert ids.setdefault((channel, position), event_id) == event_id, "histories merged"


def _channels_of(channels: Sequence[str], number: int, each: int) -> list[str]:
    return [channels[(number * each + n) % len(channels)] for n in range(each)]
