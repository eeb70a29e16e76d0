"""Python client with Pusher: the log has the events that Pusher loses."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count

import pytest

from realtime_bridge import Event
from realtime_bridge.client import ChannelDenied, DeniedError
from realtime_bridge.protocol.client.timing import Timing
from realtime_bridge.testing.providers import LocalPusher
from tests.client.members import until
from tests.client.servers import TIMEOUT, TIMING, Server, serving, step
from tests.client.test_ably_client import CHANNEL, client_of, publish
from tests.client.test_provider_presence import reader

NAME = "private-realtime.job.7"


class _Silent:
    """Connection that ignores what it gets."""

    socket_id = "1.1"

    def send(self, event: str, data: object = None, **fields: object) -> None:
        pass

    def deliver(self, frame: str) -> None:
        pass


@pytest.fixture
async def pusher(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalPusher]:
    async with LocalPusher() as pusher:
        for name, value in pusher.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("REALTIME_LOG", "memory")
        yield pusher


@pytest.fixture
async def server(pusher: LocalPusher) -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


async def test_events_arrive_by_pusher_alone(pusher: LocalPusher, server: Server) -> None:
    timing = replace(TIMING, slow_connect=10_000)  # no poll while Pusher connects
    async with client_of(server, timing=timing) as client:
        await client.live()
        polls = server.requests["/realtime/poll"]
        await publish(server.bridge, 1, 2, 3)
        assert await client.steps(3) == [1, 2, 3]
        assert server.requests["/realtime/poll"] == polls
        assert server.requests["/realtime/ws"] == 0
        assert pusher.channels.subscribers(NAME) == 1


async def test_events_during_an_outage_are_read_from_the_log(
    pusher: LocalPusher, server: Server
) -> None:
    async with client_of(server) as client:
        await client.live()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        pusher.faults.refuse = True
        pusher.drop()
        await publish(server.bridge, 2, 3)
        assert await client.steps(2) == [2, 3]
        pusher.faults.heal()
        await client.live()
        await publish(server.bridge, 4)
        assert await client.steps(1) == [4]


async def test_lossy_provider_still_gives_each_event_once(
    pusher: LocalPusher, server: Server
) -> None:
    timing = replace(TIMING, position_check_interval=500, late_event_allowance=100)
    async with client_of(server, timing=timing) as client:
        await client.live()
        faults = pusher.faults
        faults.lose, faults.duplicate, faults.reorder = 0.05, 0.05, 0.1
        publishing = asyncio.create_task(publish(server.bridge, *range(1, 201)))
        assert await client.steps(200) == [*range(1, 201)]
        await publishing


async def test_event_too_large_for_pusher_is_fetched_in_order(server: Server) -> None:
    async with client_of(server) as client:
        await client.live()
        large = {"step": 1, "text": "x" * 20_000}
        await server.bridge.publish(CHANNEL, "job.step", large)
        await publish(server.bridge, 2)
        items = await client.take(2)
        assert [step(item) for item in items] == [1, 2]
        assert isinstance(items[0], Event)
        assert items[0].data == large


async def test_denied_channel_ends_alone(server: Server) -> None:
    async with client_of(server, "other.1") as client:
        with pytest.raises(DeniedError, match=r"other\.1: .*may not"):
            await client.next()
    async with client_of(server, CHANNEL, "other.1") as client:
        denied = await client.next()
        assert denied == ChannelDenied("other.1", client.errors["other.1"])
        await client.live()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]


async def test_many_channels_are_permitted_in_few_requests(
    pusher: LocalPusher, server: Server
) -> None:
    timing = replace(TIMING, slow_connect=10_000)
    channels = [f"job.{number}" for number in range(150)]
    async with client_of(server, *channels, timing=timing) as client:
        for _ in channels:
            await client.started()
        assert server.requests["/realtime/auth/pusher"] == 2
        await publish(server.bridge, 1, channel=channels[-1])
        assert await client.steps(1) == [1]
        assert pusher.accepted == 1


async def test_client_polls_while_pusher_is_unreachable(
    pusher: LocalPusher, server: Server
) -> None:
    pusher.faults.refuse = True
    async with client_of(server) as client:
        await client.started()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        assert "realtime" not in client.kinds
        pusher.faults.heal()
        async with asyncio.timeout(TIMEOUT):
            await client.live()


@pytest.mark.parametrize("code", [1000, 4000, 4100, 4200, 4301])
async def test_any_end_of_the_connection_is_a_lost_connection(
    pusher: LocalPusher, server: Server, code: int
) -> None:
    async with client_of(server, timing=replace(TIMING, provider_silence=60_000)) as client:
        await client.live()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        await pusher.close_all(code, "the service ends it")
        await pusher.until(lambda: pusher.accepted >= 2)
        await publish(server.bridge, 2)
        assert await client.steps(1) == [2]
        assert client.errors == {}


async def test_rejected_app_is_polled(pusher: LocalPusher, server: Server) -> None:
    pusher.state = "disabled"
    async with client_of(server) as client:
        await client.started()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        pusher.state = "enabled"
        async with asyncio.timeout(TIMEOUT):
            await client.live()


async def test_silent_connection_is_kept_by_pings(pusher: LocalPusher, server: Server) -> None:
    async with client_of(server, timing=replace(TIMING, provider_silence=50)) as client:
        await client.live()
        frames = count()
        await pusher.until(lambda: next(frames) > 3)  # it is asked after each frame of a client
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        assert pusher.accepted == 1


async def test_channel_that_pusher_does_not_serve_costs_the_others_nothing(
    pusher: LocalPusher, server: Server
) -> None:
    timing: Timing = replace(TIMING, provider_answer=200)
    pusher.faults.failing = frozenset({"private-realtime.job.8"})
    pusher.faults.unanswered = frozenset({"private-realtime.job.9"})
    async with client_of(server, CHANNEL, "job.8", "job.9", timing=timing) as client:
        await client.started()
        await publish(server.bridge, 1)
        assert await client.steps(1) == [1]
        pusher.faults.failing = frozenset()
        await pusher.until(lambda: pusher.channels.subscribers("private-realtime.job.8") == 1)
        await publish(server.bridge, 2, channel="job.8")
        assert await client.steps(1) == [2]
        assert client.errors == {}


async def test_revoked_user_is_disconnected_at_once(pusher: LocalPusher, server: Server) -> None:
    timing = replace(TIMING, position_check_interval=3_600_000)
    async with client_of(server, timing=timing) as client:
        await client.live()
        await server.bridge.revoke(user="ada")
        with pytest.raises(DeniedError):
            await client.next()
        await pusher.until(lambda: pusher.connections == 0)


async def test_members_are_loaded_again_after_a_cut(pusher: LocalPusher, server: Server) -> None:
    async with reader(server, "ada") as ada, reader(server, "bob"):
        await until(ada, "ada", "bob")
        pusher.drop()
        await pusher.until(lambda: pusher.accepted >= 4)
        async with reader(server, "cyd"):
            await until(ada, "ada", "bob", "cyd")


async def test_full_list_of_members_is_an_error(pusher: LocalPusher, server: Server) -> None:
    for number in range(100):
        member = {"user_id": f"user-{number}"}
        pusher.channels.subscribe("presence-realtime.room.7", _Silent(), member)
    with pytest.raises(DeniedError, match="room for 100 members"):
        await reader(server, "ada").__aenter__()
