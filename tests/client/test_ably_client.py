"""Python client with Ably's SDK: the log has the events that Ably loses."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from realtime_bridge import Event
from realtime_bridge.client import ChannelDenied, DeniedError
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
    assert Timing().position_check_interval * 1.06 + 750 <= 35_000


async def test_provider_that_delivers_nothing_is_given_up(ably: LocalAbly, server: Server) -> None:
    timing = replace(TIMING, position_check_interval=50, late_event_allowance=10)
    async with client_of(server, timing=timing) as client:
        await client.live()
        ably.faults.lose = 1.0
        number = 0
        while ably.accepted < 2:
            number += 1
            await publish(server.bridge, number)
            assert await client.steps(1) == [number]


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
        denied = await client.next()
        assert denied == ChannelDenied("other.1", client.errors["other.1"])
        assert set(client.errors) == {"other.1"}
        await client.live()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]


async def test_channels_over_the_limit_of_ably_are_polled_until_there_is_room(
    ably: LocalAbly, server: Server
) -> None:
    """Ably has 200 channels per connection, and one of them announces revocations."""
    async with client_of(server, "other.1", *(f"job.{number}" for number in range(200))) as client:
        denied = await client.next()
        assert isinstance(denied, ChannelDenied)
        # The next channel takes its place: the token has to cover that one too.
        async with asyncio.timeout(TIMEOUT):
            await ably.until(lambda: ably.subscribers("realtime:job.198") == 1)
        for channel in ("job.0", "job.198", "job.199"):
            await publish(server.bridge, 1, channel=channel)
            event = await client.next()
            assert isinstance(event, Event)
            assert (event.channel, event.data) == (channel, {"step": 1})
        assert ably.subscribers("realtime:job.199") == 0


async def test_connection_without_a_log_begins_without_a_reset(
    ably: LocalAbly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_LOG", "none")
    timing = replace(TIMING, slow_connect=10_000)  # a poll while Ably connects brings a reset
    async with serving() as server, client_of(server, timing=timing) as client:
        await client.started()
        await client.live()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]


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


ENDS = [
    *((80003, status, False) for status in (400, 401, 404, 500, 501, 502, 503, 504, 505)),
    *((code, 401, False) for code in (40140, 40141, 40142, 40143, 40160, 40101)),
    *((code, status, True) for code, status in ((40000, 400), (40142, 401), (50000, 500))),
    (0, 0, False),
]
"""Ends of a connection: Ably's code (0: no error), status, and whether the SDK gives up."""


@pytest.mark.parametrize(("code", "status", "fatal"), ENDS)
async def test_any_end_of_the_connection_is_a_lost_connection(
    ably: LocalAbly, server: Server, code: int, status: int, *, fatal: bool
) -> None:
    timing = replace(TIMING, provider_silence=60_000)  # no ping finds the end
    async with client_of(server, timing=timing) as client:
        await client.live()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        ably.end_all(code, status, "the service ends it", fatal=fatal)
        await ably.until(lambda: ably.accepted >= 2)
        await publish(server.bridge, 2)
        async with asyncio.timeout(12):  # the silence that would find a missed event takes 15 s
            assert await client.steps(1) == [2]
        assert client.errors == {}


async def test_socket_that_is_cut_is_a_lost_connection(ably: LocalAbly, server: Server) -> None:
    async with client_of(server, timing=replace(TIMING, provider_silence=60_000)) as client:
        for number in range(1, 4):
            await client.live()
            await publish(server.bridge, number)
            assert await client.steps(1) == [number]
            ably.drop()


async def test_channel_that_failed_is_attached_again(ably: LocalAbly, server: Server) -> None:
    async with client_of(server, CHANNEL, "job.8") as client:
        await client.live()
        for number in range(1, 4):
            ably.fail_channel("realtime:job.7")
            await ably.until(lambda: ably.subscribers("realtime:job.7") == 0)
            await ably.until(lambda: ably.subscribers("realtime:job.7") == 1)
            await publish(server.bridge, number)
            assert await client.steps(1) == [number]
        assert ably.accepted == 1


async def test_channel_that_ably_does_not_attach_costs_the_others_nothing(
    ably: LocalAbly, server: Server
) -> None:
    timing = replace(TIMING, provider_answer=200)
    ably.faults.failing = frozenset({"realtime:job.8"})
    ably.faults.unanswered = frozenset({"realtime:job.9"})
    async with client_of(server, CHANNEL, "job.8", "job.9", timing=timing) as client:
        await client.started()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        ably.faults.heal()
        await ably.until(lambda: ably.subscribers("realtime:job.8") == 1)
        for _ in range(2):
            await client.started()
        await publish(server.bridge, 2, channel="job.8")
        assert await client.steps(1) == [2]
        assert client.errors == {}


async def test_token_of_many_channels_is_exchanged(ably: LocalAbly, server: Server) -> None:
    channels = [f"job.{uuid.uuid4()}" for _ in range(90)]
    async with client_of(server, *channels) as client:
        for _ in channels:
            await client.started()
        await publish(server.bridge, 1, channel=channels[-1])
        assert await client.steps(1) == [1]


async def test_revoked_user_is_disconnected_at_once(ably: LocalAbly, server: Server) -> None:
    timing = replace(TIMING, position_check_interval=3_600_000)
    async with client_of(server, timing=timing) as client:
        await client.live()
        receipt = await server.bridge.revoke(user="ada")
        assert "valid for up to 10 minutes" in receipt.remaining[0]
        with pytest.raises(DeniedError):
            await client.next()
        await ably.until(lambda: ably.connections == 0)


async def test_revoked_channel_ends_at_once_and_is_detached(
    ably: LocalAbly, server: Server
) -> None:
    timing = replace(TIMING, position_check_interval=3_600_000)
    async with client_of(server, CHANNEL, "job.8", timing=timing) as client:
        await client.live()
        await server.bridge.revoke(channel=CHANNEL)
        denied = await client.next()
        assert denied == ChannelDenied(CHANNEL, client.errors[CHANNEL])
        await ably.until(lambda: ably.subscribers("realtime:job.7") == 0)
        await publish(server.bridge, 1)
        await publish(server.bridge, 2, channel="job.8")
        assert await client.steps(1) == [2]


async def test_revocation_whose_announcement_is_lost_is_noticed(
    ably: LocalAbly, server: Server
) -> None:
    async with client_of(server, timing=replace(TIMING, position_check_interval=200)) as client:
        await client.live()
        ably.faults.lose = 1.0
        await server.bridge.revoke(user="ada")
        with pytest.raises(DeniedError):
            await client.next()


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
