"""A connection that is cut a hundred times: every event once and in order, or a reset between."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from realtime_bridge import Event
from realtime_bridge.client import ChannelReset
from realtime_bridge.testing import FaultyProxy
from realtime_bridge.testing.samples import numbered
from tests.client.servers import Client, Item, Server, serving, step, token

CHANNEL = "user-ada"
EVENTS = 20_000
BATCH = 50
CUTS = 100

every_socket = pytest.mark.parametrize("way", ["websocket", "auto"])


class Storm:
    """Cuts the connection at random moments, each after something came since the last one."""

    def __init__(self, proxy: FaultyProxy, *, seed: int) -> None:
        self._proxy = proxy
        self._chance = random.Random(seed)
        early = range(1, EVENTS * 3 // 5)
        self._moments = sorted(self._chance.sample(early, CUTS), reverse=True)
        self._begun = 0

    @property
    def cuts(self) -> int:
        """How often it has cut."""
        return self._proxy.dropped

    def felt(self, offset: int) -> None:
        """Note that the client has reached `offset`."""
        due = self._moments and self._moments[-1] <= offset
        if due and self.cuts == self._begun:
            self._cut()
        if self.cuts > self._begun:
            self._begun += 1
            self._moments.pop()

    def _cut(self) -> None:
        """Cut now, or a little later in the middle of a frame."""
        if self._chance.random() < 0.5:
            self._proxy.drop()
        else:
            self._proxy.drop(after=self._chance.randint(0, 1_000))


async def publish_all(server: Server, behind: asyncio.Semaphore) -> None:
    """Publish in batches, so far ahead of the client as `behind` lets us."""
    for start in range(1, EVENTS + 1, BATCH):
        await behind.acquire()
        await server.bridge.publish_many(numbered(CHANNEL, BATCH, start=start))


@asynccontextmanager
async def storm(way: str, *, seed: int) -> AsyncGenerator[tuple[Client, Server, Storm]]:
    async with (
        serving() as server,
        FaultyProxy(server.port) as proxy,
        Client(f"{proxy.url}/realtime", [CHANNEL], token=token(), transport=way) as client,
    ):
        await client.begun()
        yield client, server, Storm(proxy, seed=seed)


async def listen_through(way: str, *, seed: int, ahead: int) -> tuple[Sequence[Item], Storm]:
    """Return all that came until the last event, or a reset onto it."""
    items: list[Item] = []
    behind = asyncio.Semaphore(ahead)
    async with storm(way, seed=seed) as (client, server, cutting), asyncio.TaskGroup() as tasks:
        tasks.create_task(publish_all(server, behind))
        reached = 0
        while reached < EVENTS:
            item = await client.next()
            items.append(item)
            assert item.position
            for _ in range(item.position.offset // BATCH - reached // BATCH):
                behind.release()
            reached = item.position.offset
            cutting.felt(reached)
    return items, cutting


@every_socket
async def test_a_hundred_cuts_lose_nothing_and_repeat_nothing(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_HISTORY_EVENTS", str(EVENTS + 1))
    items, cutting = await listen_through(way, seed=7, ahead=6)
    assert cutting.cuts == CUTS
    assert [step(item) for item in items] == [*range(1, EVENTS + 1)]
    assert [item.position.offset for item in items if item.position] == [*range(1, EVENTS + 1)]


@every_socket
async def test_with_a_short_history_every_hole_is_a_reset(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_HISTORY_EVENTS", "100")
    items, cutting = await listen_through(way, seed=11, ahead=6)
    resets = [item for item in items if isinstance(item, ChannelReset)]
    reached, known = 0, set[str]()
    for item in items:
        assert item.position
        if isinstance(item, Event):
            assert item.position.offset == reached + 1, "a hole without a reset, or a repetition"
            assert item.data["step"] == item.position.offset
            assert item.id not in known
            known.add(item.id)
        reached = item.position.offset
    assert cutting.cuts == CUTS
    assert resets
    assert {reset.reason for reset in resets} == {"truncated"}
    assert len(known) > EVENTS // 10
