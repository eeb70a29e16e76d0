"""The Python client hears Ably by its own SDK; what Ably loses the log has, or polling brings."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from realtime_bridge import Event
from realtime_bridge.client import ChannelReset, DeniedError, hosted_transport
from realtime_bridge.server import Bridge
from realtime_bridge.testing.providers import LocalAbly
from tests.client.servers import TIMEOUT, Client, Server, serving, step, token

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


def client_of(server: Server, *channels: str, allowed: tuple[str, ...] = ("job.*",)) -> Client:
    url = f"http://127.0.0.1:{server.port}/realtime"
    return Client(url, channels or [CHANNEL], token=token(channels=allowed))


async def publish(bridge: Bridge, *steps: int, channel: str = CHANNEL) -> None:
    for number in steps:
        await bridge.publish(channel, "job.step", {"step": number})


async def test_events_come_by_ably_and_not_from_our_server(ably: LocalAbly, server: Server) -> None:
    async with client_of(server) as client:
        await client.live()
        polls = server.asked["/realtime/poll"]
        await publish(server.bridge, 1, 2, 3)
        assert await client.steps(3) == [1, 2, 3]
        assert server.asked["/realtime/poll"] == polls
        assert server.asked["/realtime/ws"] == 0
        assert ably.subscribers("realtime:job.7") == 1


async def test_what_was_published_before_and_meanwhile_is_read_from_the_log(
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


async def test_under_loss_repeats_and_reordering_each_event_comes_once_and_in_order(
    ably: LocalAbly, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_transport, "CHECK_SECONDS", 0.5)
    monkeypatch.setattr(hosted_transport, "UNDER_WAY_SECONDS", 0.1)
    async with client_of(server) as client, client_of(server) as other:
        await client.live()
        await other.live()
        ably.faults.lose, ably.faults.duplicate, ably.faults.reorder = 0.05, 0.05, 0.1
        publishing = asyncio.create_task(publish(server.bridge, *range(1, 401)))
        for one in (client, other):
            assert await one.steps(400) == [*range(1, 401)]
        await publishing


async def test_a_lost_last_event_is_noticed_by_comparing_positions(
    ably: LocalAbly, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_transport, "CHECK_SECONDS", 0.2)
    async with client_of(server) as client:
        await client.live()
        ably.faults.lose = 1.0
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        assert hosted_transport.CHECK_SECONDS * 1.2 <= 35


async def test_a_provider_that_delivers_nothing_is_given_up(
    ably: LocalAbly, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_transport, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(hosted_transport, "UNDER_WAY_SECONDS", 0.01)
    async with client_of(server) as client:
        await client.live()
        ably.faults.lose = 1.0
        for number in (1, 2):
            await publish(server.bridge, number)
            assert await client.steps(1) == [number]
        await client.live()
        assert ably.accepted >= 2


async def test_what_is_too_large_for_ably_is_fetched_and_what_follows_waits(
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


async def test_a_channel_that_this_user_may_not_hear_is_refused_for_good(
    ably: LocalAbly, server: Server
) -> None:
    async with client_of(server, "other.1") as client:
        with pytest.raises(DeniedError, match="may not listen"):
            await client.next()
    async with client_of(server, CHANNEL, "other.1") as client:
        with pytest.raises(DeniedError, match=r"other\.1"):
            await client.next()


async def test_without_a_log_each_connection_begins_with_a_reset(
    ably: LocalAbly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_LOG", "none")
    async with serving() as server, client_of(server) as client:
        await client.begun()
        await client.live()
        await publish(server.bridge, 1)
        items = [await client.next()]
        while isinstance(items[-1], ChannelReset):
            items.append(await client.next())
        *resets, event = items
        assert set(resets) == {ChannelReset(CHANNEL, "signal", None)}
        assert step(event) == 1


async def test_while_the_service_is_away_there_is_polling(ably: LocalAbly, server: Server) -> None:
    ably.faults.refuse = True
    async with client_of(server) as client:
        await client.begun()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        assert client.status.kind == "polling"
        ably.faults.heal()
        async with asyncio.timeout(TIMEOUT):
            await client.live()


async def test_when_ably_fails_and_our_server_carries_on_it_moves_over_and_misses_nothing(
    ably: LocalAbly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_FAILOVER", "websocket")
    async with serving() as server, client_of(server) as client:
        await client.live()
        await publish(server.bridge, 1)
        ably.faults.status, ably.faults.refuse = 500, True
        ably.drop()
        await publish(server.bridge, *range(2, 10))
        while not server.asked["/realtime/ws"]:
            await client.live()
        await publish(server.bridge, 10)
        assert await client.steps(10) == [*range(1, 11)]
