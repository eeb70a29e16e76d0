"""Presence where a hosted provider delivers: its own members, and clear denials elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from realtime_bridge.client import DeniedError, PresenceReader
from realtime_bridge.client.transport_manager import TransportName
from realtime_bridge.model.channel import presence_channel
from realtime_bridge.server import Bridge
from realtime_bridge.testing.providers import LocalAbly, local_provider
from tests.client.members import until
from tests.client.servers import TIMEOUT, Client, Server, serving, token

CHANNEL = "room.7"
NAME = presence_channel(CHANNEL)


@pytest.fixture
async def provider(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[object]:
    async with local_provider(request.param) as provider:
        for name, value in provider.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("REALTIME_LOG", "memory")
        yield provider


@pytest.fixture
async def server(provider: object) -> AsyncIterator[Server]:
    bridge = Bridge.from_env()

    @bridge.presence("room.{number}")
    def describe(user: str, number: str) -> dict[str, str]:
        return {"name": user.title(), "room": number}

    async with serving(bridge) as server:
        yield server


def reader(server: Server, user: str, transport: TransportName = "auto") -> PresenceReader:
    url = f"http://127.0.0.1:{server.port}/realtime"
    bearer = token(user, channels=["room.*"])
    return PresenceReader(Client(url, [NAME], token=bearer, transport=transport), NAME)


by_ably = pytest.mark.parametrize("provider", ["ably"], indirect=True)
by_each = pytest.mark.parametrize("provider", ["ably", "pusher"], indirect=True)


@by_each
async def test_members_at_a_provider_are_each_user_once(server: Server) -> None:
    async with reader(server, "ada") as ada:
        assert [member.user for member in ada.members] == ["ada"]
        async with reader(server, "bob") as bob:
            assert await until(ada, "ada", "bob") == [("joined", "bob")]
            assert {one.user: one.info for one in bob.members} == {
                "ada": {"name": "Ada", "room": "7"},
                "bob": {"name": "Bob", "room": "7"},
            }
            async with reader(server, "bob"), reader(server, "cyd"):
                assert await until(ada, "ada", "bob", "cyd") == [("joined", "cyd")]
            assert await until(ada, "ada", "bob") == [("left", "cyd")]
        assert await until(ada, "ada") == [("left", "bob")]


@by_ably
async def test_list_stays_while_ably_is_down(server: Server, provider: LocalAbly) -> None:
    async with reader(server, "ada") as ada, reader(server, "bob"):
        await until(ada, "ada", "bob")
        provider.absence_seconds = 0.0
        provider.faults.refuse = True
        provider.drop()
        server.requested.clear()
        polls = server.requests["/realtime/poll"]
        async with asyncio.timeout(TIMEOUT):
            while server.requests["/realtime/poll"] < polls + 4:
                await server.requested.wait()
                server.requested.clear()
        assert {member.user for member in ada.members} == {"ada", "bob"}
        provider.faults.heal()
        async with reader(server, "cyd"):
            assert ("joined", "cyd") in await until(ada, "ada", "bob", "cyd")


@by_each
@pytest.mark.parametrize("transport", ["websocket", "sse", "poll"])
async def test_second_list_beside_that_of_a_provider_is_denied(
    server: Server, transport: TransportName
) -> None:
    with pytest.raises(DeniedError, match="keeps the members"):
        await reader(server, "ada", transport).__aenter__()


@by_each
async def test_snapshot_of_a_provider_s_members_is_empty(server: Server) -> None:
    bearer = {"authorization": f"Bearer {token('ada', channels=['room.*'])}"}
    url = f"http://127.0.0.1:{server.port}/realtime"
    async with httpx.AsyncClient(headers=bearer) as http:
        latest = await http.get(f"{url}/latest", params={"channel": NAME})
        poll = await http.post(f"{url}/poll", json={"positions": {NAME: None}})
        denied = presence_channel("other")
        other = await http.post(f"{url}/poll", json={"positions": {denied: None}})
    assert (latest.json()["events"], latest.json()["more"]) == ([], False)
    assert poll.json()["channels"][NAME]["error"]["code"] == 503
    assert other.json()["channels"][denied]["error"]["code"] == 403


@by_ably
async def test_client_cannot_choose_what_others_read_about_it(
    server: Server, provider: LocalAbly
) -> None:
    grant = await authorize(server, "ably", {"channels": f"realtime:{NAME}"})
    assert json.loads(grant["capability"]) == {f"realtime:{NAME}": ["presence", "subscribe"]}
    async with reader(server, "bob") as bob:
        forged = {"action": 2, "data": '{"name":"Admin"}', "extras": {"userClaim": '{"x":1}'}}
        frame = {"channel": f"realtime:{NAME}", "msgSerial": 0, "presence": [forged]}
        provider.rooms.handle(frame, provider.keys.by_token(grant["token"]), "connection")
        await until(bob, "ada", "bob")
        info = {member.user: member.info for member in bob.members}
        assert info["ada"] == {"name": "Ada", "room": "7"}


async def authorize(server: Server, provider: str, fields: dict[str, str]) -> dict[str, str]:
    bearer = {"authorization": f"Bearer {token('ada', channels=['room.*'])}"}
    url = f"http://127.0.0.1:{server.port}/realtime/auth/{provider}"
    async with httpx.AsyncClient(headers=bearer) as http:
        answer: dict[str, str] = (await http.post(url, data=fields)).json()
    return answer
