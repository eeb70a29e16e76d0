"""Many clients, each of which writes down what it got, and whether anything was missing."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

from realtime_bridge import Event
from realtime_bridge.client import ChannelReset, HybridClient
from realtime_bridge.model.position import Position
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import SECRET
from tests.nodes.cluster import Published

OPENED_AT_ONCE = 50


class Member:
    """One client, and what it got."""

    def __init__(self, url: str, user: str, channels: Sequence[str]) -> None:
        token = Tokens(SECRET, issuer="realtime").issue(user, channels=channels, seconds=3_600)
        self.client = HybridClient(url, channels, token=token)
        self.channels = channels
        self.here: dict[str, Position | None] = dict.fromkeys(channels)
        self.ids: dict[str, list[str]] = defaultdict(list)
        self.taken: list[tuple[str, Position, str]] = []
        self.resets: list[ChannelReset] = []
        self.moved = asyncio.Event()

    async def begin(self) -> None:
        """Wait until all channels are subscribed."""
        for _ in self.channels:
            channel, start = await self.client.wait_subscribed()
            self.here[channel] = self.here[channel] or start

    async def listen(self) -> None:
        """Take what comes: contiguous in one epoch, or a reset between."""
        async for item in self.client:
            if isinstance(item, ChannelReset):
                self.resets.append(item)
            else:
                self._take(item)
            self.here[item.channel] = item.position
            self.moved.set()

    def _take(self, event: Event) -> None:
        here, place = self.here[event.channel], event.position
        assert here
        assert place == Position(here.epoch, here.offset + 1), f"{place} after {here}"
        self.taken.append((event.channel, place, event.id))
        self.ids[event.channel].append(event.id)

    async def reaches(self, tops: dict[str, Position]) -> None:
        """Wait until it has all there is."""
        while any(self.here[channel] != tops[channel] for channel in self.channels):
            self.moved.clear()
            await self.moved.wait()

    def check(self, published: Published) -> None:
        """Prove that each channel without a reset had each event once, and none twice."""
        holes = {reset.channel for reset in self.resets}
        for channel in self.channels:
            got = self.ids[channel]
            assert len(got) == len(set(got)), f"{channel}: an event came twice"
            if channel not in holes:
                missing = published.ids[channel] - set(got)
                assert not missing, f"{channel}: {len(missing)} acknowledged events are missing"


class Audience:
    """So many members, spread over the channels, all listening through one address."""

    def __init__(self, url: str, members: int, channels: Sequence[str], *, each: int) -> None:
        self.members = [
            Member(url, f"user-{number}", _share(channels, number, each))
            for number in range(members)
        ]
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            tasks = await exits.enter_async_context(asyncio.TaskGroup())
            for start in range(0, len(self.members), OPENED_AT_ONCE):
                some = self.members[start : start + OPENED_AT_ONCE]
                for member in some:
                    await exits.enter_async_context(member.client)
                await asyncio.gather(*(member.begin() for member in some))
                for member in some:
                    exits.callback(tasks.create_task(member.listen()).cancel)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    @property
    def resets(self) -> list[ChannelReset]:
        return [reset for member in self.members for reset in member.resets]

    async def reach(self, tops: dict[str, Position], *, seconds: float) -> None:
        """Wait until everybody has all there is."""
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(member.reaches(tops) for member in self.members))

    async def has(self, events: int) -> None:
        """Wait until the first member has so many events: the load is under way."""
        first = self.members[0]
        while sum(map(len, first.ids.values())) < events:
            first.moved.clear()
            await first.moved.wait()

    def check(self, published: Published) -> None:
        """Prove it of everybody, and that no place was ever held by two events."""
        held: dict[tuple[str, Position], str] = {}
        for member in self.members:
            member.check(published)
            for channel, place, event_id in member.taken:
                assert held.setdefault((channel, place), event_id) == event_id, "histories merged"


def _share(channels: Sequence[str], number: int, each: int) -> list[str]:
    return [channels[(number * each + n) % len(channels)] for n in range(each)]
