"""Pusher's clients on two nodes: one order with native pages, and a drain without a hot loop."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.nodes.load import FULL
from tests.server.harness import FAST, Client, Frame, Site, Sites, make_bridge, until
from tests.server.pusher.clients import ENVIRONMENT, PusherClient, connect_pusher, sdk_of
from tests.server.pusher.node_programs import NodePusher
from tests.services.redis import RedisServer

EVENTS = 9_999 if FULL else 300
CLIENTS = 500 if FULL else 30
DRAINING = 503


@pytest_asyncio.fixture(params=["memory", "redis", "sqlite"])
async def nodes(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Site]]:
    """Start a server on a log in memory, or two on one shared log."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    async with AsyncExitStack() as exits:
        backend = request.param
        if backend == "redis":
            server = exits.enter_context(RedisServer(tmp_path / "redis"))
            monkeypatch.setenv("REALTIME_REDIS_URL", server.url)
        monkeypatch.setenv("REALTIME_SQLITE_PATH", str(tmp_path / "log.db"))
        sites = await exits.enter_async_context(Sites(FAST))
        options: dict[str, Any] = {} if backend == "memory" else {"backend": backend}
        started = []
        for _ in range(1 if backend == "memory" else 2):
            bridge = make_bridge(
                pusher_door=True,
                authenticate=lambda _: "42",
                limit_event_bytes=100_000,
                history_events=20_000,
                limit_connections_per_user=CLIENTS,
                **options,
            )
            bridge.channel("orders.{order}")(lambda user, order: (user, order) == ("42", "7"))
            started.append(await sites.start(bridge))
        yield started


async def test_native_and_pusher_pages_see_one_order(nodes: list[Site]) -> None:
    first, last = nodes[0], nodes[-1]
    native = await first.connect()
    await native.subscribe("orders.7")
    async with NodePusher.run(last.origin) as page:
        await page.connected()
        await page.subscribe("private-orders.7", "step")
        sdk = sdk_of(last.origin)
        reading = asyncio.gather(page.events(EVENTS), native_events(native))
        for number in range(0, EVENTS, 3):
            await first.bridge.publish("orders.7", "step", number)
            await last.bridge.publish("orders.7", "step", number + 1)
            await sdk.trigger("private-orders.7", "step", str(number + 2))
        theirs, ours = await reading
    assert theirs == [frame["data"] for frame in ours] == list(range(EVENTS))


async def native_events(client: Client) -> list[Frame]:
    """Read all events; heartbeats come between them in a long run."""
    return [await client.skip_to("event") for _ in range(EVENTS)]


@dataclass
class Page:
    """Client that connects again as pusher-js does: at once after 4200, much later after a 503."""

    nodes: list[Site]
    number: int
    attempts: int = 0
    codes: list[int] = field(default_factory=list)

    async def connect(self) -> PusherClient | None:
        """Connect to the next node, as a balancer chooses it; None after a refusal."""
        node = self.nodes[(self.number + self.attempts) % len(self.nodes)]
        self.attempts += 1
        try:
            client = await connect_pusher(node)
        except InvalidStatus as error:
            if error.response.status_code != DRAINING:
                raise
            return None
        await client.subscribe("private-orders.7")
        return client

    async def follow(self, client: PusherClient | None) -> None:
        """Stay connected until an event arrives, or until a server refuses."""
        while client:
            code = await self._close_code(client)
            if code is None:
                return
            self.codes.append(code)
            client = await self.connect()

    async def _close_code(self, client: PusherClient) -> int | None:
        with suppress(ConnectionClosed):
            async for message in client.socket:
                if json.loads(message)["event"] == "end":
                    return None
        return client.socket.close_code


@pytest.mark.parametrize("nodes", ["redis"], indirect=True)
async def test_drain_moves_each_page_once(nodes: list[Site]) -> None:
    pages = [Page(nodes, number) for number in range(CLIENTS)]
    clients = [await page.connect() for page in pages]
    following = asyncio.gather(
        *(page.follow(client) for page, client in zip(pages, clients, strict=True))
    )
    await nodes[0].bridge.drain()
    fanout = nodes[1].context.hub.fanouts["orders.7"]
    await until(lambda: len(fanout.fast_subscribers) == CLIENTS)
    await nodes[1].bridge.publish("orders.7", "end")
    await following
    moved = [page for page in pages if page.codes]
    assert len(moved) == CLIENTS // 2
    for page in moved:
        assert page.codes == [4200]
        assert page.attempts == 2
