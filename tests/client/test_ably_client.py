"""Python client with Ably's SDK: the log has the events that Ably loses."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from realtime_bridge import Event
from realtime_bridge.client import ChannelReset, DeniedError
from realtime_bridge.protocol.client.timing import Timing
from realtime_bridge.server import Bridge
from realtime_bridge.testing.providers import LocalAbly
from tests.client.servers import TIMEOUT, TIMING, Client, Server, serving, step, token

CHANNEL = "job.7"


@pytest.fixture
async def ably(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalAbly]:
    async with LocalAbly() as ably:
        for name, value in ably.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("REALTIME_LOG", "memory")
        yield ably


@pytest.fixture
async def server(ably: LocalAbly) -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


def client_of(server: Server, *channels: str, timing: Timing = TIMING) -> Client:
    url = f"http://127.0.0.1:{server.port}/realtime"
    return Client(url, channels or [CHANNEL], token=token(channels=["job.*"]), timing=timing)


async def publish(bridge: Bridge, *steps: int, channel: str = CHANNEL) -> None:
    for number in steps:
        await bridge.publish(channel, "job.step", {"step": number})


async def test_events_arrive_by_ably_alone(ably: LocalAbly, server: Server) -> None:
    timing = replace(TIMING, slow_connect=10_000)  # no poll while Ably connects
    async with client_of(server, timing=timing) as client:
        await client.live()
        polls = server.requests["/realtime/poll"]
        await publish(server.bridge, 1, 2, 3)
        assert await client.steps(3) == [1, 2, 3]
        assert server.requests["/realtime/poll"] == polls
        assert server.requests["/realtime/ws"] == 0
        assert ably.subscribers("realtime:job.7") == 1


async def test_events_during_an_outage_are_read_from_the_log(
    ably: LocalAbly, server: Server
) -> None:
    async with client_of(server) as client:
        await client.live()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        ably.faults.refuse = True
        ably.drop()
        await publish(server.bridge, 2, 3)
        assert await client.steps(2) == [2, 3]
        ably.faults.heal()
        await client.live()
        await publish(server.bridge, 4)
        assert await client.steps(1) == [4]


async def test_lossy_provider_still_gives_each_event_once(ably: LocalAbly, server: Server) -> None:
    timing = replace(TIMING, position_check_interval=500, late_event_allowance=100)
    async with (
        client_of(server, timing=timing) as client,
        client_of(server, timing=timing) as other,
    ):
        await client.live()
        await other.live()
        ably.faults.lose, ably.faults.duplicate, ably.faults.reorder = 0.05, 0.05, 0.1
        publishing = asyncio.create_task(publish(server.bridge, *range(1, 401)))
        for one in (client, other):
            assert await one.steps(400) == [*range(1, 401)]
        await publishing


async def test_lost_last_event_is_found_by_position_check(ably: LocalAbly, server: Server) -> None:
    timing = replace(TIMING, position_check_interval=200)
    async with client_of(server, timing=timing) as client:
        await client.live()
        ably.faults.lose = 1.0
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
    assert Timing().position_check_interval * 1.2 <= 35_000


async def test_provider_that_delivers_nothing_is_given_up(ably: LocalAbly, server: Server) -> None:
    timing = replace(TIMING, position_check_interval=50, late_event_allowance=10)
    async with client_of(server, timing=timing) as client:
        await client.live()
        ably.faults.lose = 1.0
        for number in (1, 2):
            await publish(server.bridge, number)
            assert await client.steps(1) == [number]
        await client.live()
        assert ably.accepted >= 2


async def test_event_too_large_for_ably_is_fetched_in_order(
    ably: LocalAbly, server: Server
) -> None:
    async with client_of(server) as client:
        await client.live()
        large = {"step": 1, "text": "x" * 200_000}
        await server.bridge.publish(CHANNEL, "job.step", large)
        await publish(server.bridge, 2)
        items = await client.take(2)
        assert [step(item) for item in items] == [1, 2]
        assert isinstance(items[0], Event)
        assert items[0].data == large


async def test_denied_channel_ends_alone(ably: LocalAbly, server: Server) -> None:
    async with client_of(server, "other.1") as client:
        with pytest.raises(DeniedError, match=r"other\.1: .*may not"):
            await client.next()
    async with client_of(server, CHANNEL, "other.1") as client:
        assert await client.next() == ChannelReset("other.1", "forbidden", None)
        assert set(client.errors) == {"other.1"}
        await client.live()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]


async def test_connection_without_a_log_begins_with_a_reset(
    ably: LocalAbly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_LOG", "none")
    async with serving() as server, client_of(server) as client:
        await client.started()
        await client.live()
        await publish(server.bridge, 1)
        items = [await client.next()]
        while isinstance(items[-1], ChannelReset):
            items.append(await client.next())
        *resets, event = items
        assert set(resets) == {ChannelReset(CHANNEL, "signal", None)}
        assert step(event) == 1


async def test_client_polls_while_ably_is_unreachable(ably: LocalAbly, server: Server) -> None:
    ably.faults.refuse = True
    async with client_of(server) as client:
        await client.started()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        assert "polling" in client.kinds
        assert "realtime" not in client.kinds
        ably.faults.heal()
        async with asyncio.timeout(TIMEOUT):
            await client.live()


async def test_failover_from_ably_to_the_server_loses_nothing(
    ably: LocalAbly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_FAILOVER", "websocket")
    async with serving() as server, client_of(server) as client:
        await client.live()
        await publish(server.bridge, 1)
        ably.faults.status, ably.faults.refuse = 500, True
        ably.drop()
        await publish(server.bridge, *range(2, 10))
        while not server.requests["/realtime/ws"]:
            await client.live()
        await publish(server.bridge, 10)
        assert await client.steps(10) == [*range(1, 11)]
