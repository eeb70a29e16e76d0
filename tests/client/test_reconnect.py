"""Connection that is cut a hundred times: each event once and in order, or a reset."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from realtime_bridge import Event
from realtime_bridge.client import ChannelReset
from realtime_bridge.testing import FaultyProxy
from realtime_bridge.testing.contracts.samples import numbered
from tests.client.servers import Client, Item, Server, serving, step, token

CHANNEL = "user-ada"
EVENTS = 20_000
CUTS = 100
BATCHES = 8
"""Batches between two cuts; each cut comes after one of them, but the last."""

BATCH = EVENTS // CUTS // BATCHES

every_transport = pytest.mark.parametrize("transport", ["websocket", "sse", "auto"])


class Storm:
    """Publisher of all events that cuts the connection at random times meanwhile."""

    def __init__(self, server: Server, proxy: FaultyProxy, *, seed: int) -> None:
        self._received = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._published = 0
        self._server = server
        self._proxy = proxy
        self._random = random.Random(seed)

    def receive(self, item: Item) -> None:
        """Record that the client received an item."""
        self._received.set()
        assert item.position
        if item.position.offset == self._published:
            self._caught_up.set()

    async def run(self) -> None:
        for cut in range(CUTS):
            moment = self._random.randrange(BATCHES - 1)
            for batch in range(BATCHES):
                await self._publish()
                if batch == moment:
                    await self._received.wait()
                    self._received.clear()
                    self._cut(so_far=cut)
            await self._proxy.until(lambda: self._proxy.dropped > cut)  # noqa: B023

    async def _publish(self) -> None:
        events = numbered(CHANNEL, BATCH, start=self._published + 1)
        self._published += BATCH
        self._caught_up.clear()
        await self._server.bridge.publish_many(events)
        if self._random.random() < 0.3:
            await self._caught_up.wait()

    def _cut(self, *, so_far: int) -> None:
        """Cut now, or after some bytes, within a message."""
        if self._random.random() < 0.5:
            self._proxy.drop()
        if self._proxy.dropped == so_far:
            self._proxy.drop(after=self._random.randint(0, 500))


async def listen_through(transport: str, *, seed: int) -> Sequence[Item]:
    """Return all items until the last event, or a reset to its position."""
    items: list[Item] = []
    async with (
        serving() as server,
        FaultyProxy(server.port) as proxy,
        Client(f"{proxy.url}/realtime", [CHANNEL], token=token(), transport=transport) as client,
        asyncio.TaskGroup() as tasks,
    ):
        await client.started()
        storm = Storm(server, proxy, seed=seed)
        running = tasks.create_task(storm.run())
        reached = 0
        while reached < EVENTS:
            items.append(await client.next())
            storm.receive(items[-1])
            reached = items[-1].position.offset if items[-1].position else 0
        await running
        assert proxy.dropped == CUTS
    return items


@every_transport
async def test_hundred_cuts_lose_and_repeat_nothing(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_HISTORY_EVENTS", str(EVENTS + 1))
    items = await listen_through(transport, seed=7)
    assert [step(item) for item in items] == [*range(1, EVENTS + 1)]
    assert [item.position.offset for item in items if item.position] == [*range(1, EVENTS + 1)]


@every_transport
async def test_every_gap_in_a_short_history_is_a_reset(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_HISTORY_EVENTS", "100")
    items = await listen_through(transport, seed=11)
    reached, known = 0, set[str]()
    for item in items:
        assert item.position
        if isinstance(item, Event):
            assert item.position.offset == reached + 1, "a gap without a reset, or a repetition"
            assert item.data["step"] == item.position.offset
            assert item.id not in known
            known.add(item.id)
        reached = item.position.offset
    resets = [item for item in items if isinstance(item, ChannelReset)]
    assert resets
    assert {reset.reason for reset in resets} == {"truncated"}
    assert EVENTS // 10 < len(known) < EVENTS
