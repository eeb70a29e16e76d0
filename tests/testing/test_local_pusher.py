"""Signatures, limits, close codes and presence of the local Pusher."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from pusher import Pusher
from pusher.aiohttp import AsyncIOBackend
from pusher.errors import PusherBadAuth, PusherBadRequest, PusherBadStatus, PusherForbidden
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime_bridge.protocol.pusher.session_commands import PusherLimits
from realtime_bridge.testing.providers import LocalPusher

KNOWN = ("278d425bdf160c739803", "7ad3773142a6692b25b8")
"""Key and secret of the examples in Pusher's documentation."""


@pytest_asyncio.fixture
async def pusher() -> AsyncIterator[LocalPusher]:
    async with LocalPusher(key=KNOWN[0], secret=KNOWN[1]) as pusher:
        yield pusher


@pytest.fixture
def sdk(pusher: LocalPusher) -> Pusher:
    return sdk_of(pusher)


def sdk_of(pusher: LocalPusher, **changes: Any) -> Pusher:
    options = {"app_id": pusher.app_id, "key": pusher.key, "secret": pusher.secret, **changes}
    return Pusher(**options, ssl=False, host="127.0.0.1", port=pusher.port, backend=AsyncIOBackend)


class Client:
    """Client that sends the frames of pusher-js."""

    def __init__(self, socket: ClientConnection, sdk: Pusher) -> None:
        self.socket = socket
        self.socket_id = ""
        self._sdk = sdk

    async def frame(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        if isinstance(frame.get("data"), str):
            frame["data"] = json.loads(frame["data"])
        return frame

    async def send(self, event: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"event": event, **fields}))

    async def subscribe(self, channel: str, user: str | None = None) -> dict[str, Any]:
        data = {"channel": channel}
        if channel.startswith(("private-", "presence-")):
            member = {"user_id": user, "user_info": {"name": user}} if user else None
            data |= self._sdk.authenticate(channel, self.socket_id, member)
        await self.send("pusher:subscribe", data=data)
        return await self.frame()

    async def ping(self) -> None:
        await self.send("pusher:ping", data={})
        assert (await self.frame())["event"] == "pusher:pong"

    async def subscribe_to(self, name: str) -> dict[str, Any]:
        """Subscribe with any name, which the SDK would not sign, and return the answer."""
        await self.send("pusher:subscribe", data={"channel": name, "auth": "k:signature"})
        return await self.frame()

    async def closed(self) -> int:
        try:
            while True:
                await self.socket.recv()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else 1006


class Connect:
    def __init__(self, pusher: LocalPusher, exits: AsyncExitStack) -> None:
        self._pusher = pusher
        self._exits = exits

    async def __call__(self, query: str = "protocol=7", key: str = KNOWN[0]) -> Client:
        url = f"ws://127.0.0.1:{self._pusher.port}/app/{key}?{query}"
        socket = await self._exits.enter_async_context(connect(url, proxy=None))
        return Client(socket, sdk_of(self._pusher))

    async def established(self) -> Client:
        client = await self()
        frame = await client.frame()
        assert frame["event"] == "pusher:connection_established"
        assert frame["data"]["activity_timeout"] == 120
        client.socket_id = frame["data"]["socket_id"]
        return client


@pytest_asyncio.fixture
async def opening(pusher: LocalPusher) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as exits:
        yield Connect(pusher, exits)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"secret": "wrong"}, PusherBadAuth),
        ({"key": "wrong"}, PusherBadAuth),
        ({"app_id": "1"}, PusherBadStatus),
    ],
)
async def test_call_with_wrong_signature_is_rejected(
    pusher: LocalPusher, changes: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await sdk_of(pusher, **changes).trigger("c", "e", "d")


async def test_sdk_publishes_to_subscribers(sdk: Pusher, opening: Connect) -> None:
    client = await opening.established()
    assert await client.subscribe("c") == {
        "event": "pusher_internal:subscription_succeeded",
        "channel": "c",
        "data": {},
    }
    assert await sdk.trigger(["c", "d"], "named", {"a": 1}) == {}
    assert await sdk.trigger_batch([{"channel": "c", "name": "b", "data": "text"}]) == {}
    assert await client.frame() == {"event": "named", "channel": "c", "data": {"a": 1}}
    frame = json.loads(await client.socket.recv())
    assert frame == {"event": "b", "channel": "c", "data": "text"}


async def test_excluded_and_unsubscribed_sockets_get_no_event(
    sdk: Pusher, opening: Connect
) -> None:
    one, other = await opening.established(), await opening.established()
    for client in (one, other):
        await client.subscribe("c")
    await sdk.trigger("c", "e", "1", socket_id=one.socket_id)
    await other.frame()
    await other.send("pusher:unsubscribe", data={"channel": "c"})
    await other.ping()
    await sdk.trigger("c", "e", "2")
    assert (await one.frame())["data"] == 2
    await one.ping()
    await other.ping()


LETTERS = [("a", 10_240), ("é", 5_120)]


@pytest.mark.parametrize(("letter", "limit"), LETTERS)
async def test_data_is_limited_to_10240_bytes(sdk: Pusher, letter: str, limit: int) -> None:
    assert await sdk.trigger("c", "e", letter * limit) == {}
    with pytest.raises(PusherBadStatus, match="413"):
        await sdk.trigger("c", "e", letter * (limit + 1))


async def test_calls_over_a_limit_are_rejected(pusher: LocalPusher, sdk: Pusher) -> None:
    batch = [{"channel": "c", "name": "e", "data": "d"} for _ in range(11)]
    with pytest.raises(PusherBadRequest, match="1 to 10 events"):
        await sdk.trigger_batch(batch)
    with pytest.raises(PusherBadRequest, match="Invalid channel"):
        await sdk.trigger("c" * 165, "e", "d")
    assert await sdk.trigger([f"c{n}" for n in range(100)], "e", "d") == {}
    with pytest.raises(PusherBadRequest, match="1 to 200"):
        await sdk.trigger("c", "", "d")


async def test_channel_queries_return_counts_and_users(sdk: Pusher, opening: Connect) -> None:
    client = await opening.established()
    await client.subscribe("c")
    await client.subscribe("presence-p", "ann")
    assert await sdk.channels_info() == {"channels": {"c": {}, "presence-p": {}}}
    assert await sdk.channels_info("presence-", ["user_count"]) == {
        "channels": {"presence-p": {"user_count": 1}}
    }
    assert await sdk.channel_info("c", ["subscription_count"]) == {
        "occupied": True,
        "subscription_count": 1,
    }
    assert await sdk.users_info("presence-p") == {"users": [{"id": "ann"}]}
    for query in (sdk.users_info("c"), sdk.channel_info("c", ["user_count"])):
        with pytest.raises(PusherBadRequest):
            await query


async def test_private_channel_needs_a_signature(opening: Connect, pusher: LocalPusher) -> None:
    client = await opening.established()
    await client.send("pusher:subscribe", data={"channel": "private-c", "auth": "no:good"})
    frame = await client.frame()
    assert (frame["event"], frame["data"]["status"]) == ("pusher:subscription_error", 401)
    assert (await client.subscribe("private-c"))["event"].endswith("subscription_succeeded")
    assert pusher.channels.subscribers("private-c") == 1


async def test_user_with_two_sockets_is_present_once(opening: Connect) -> None:
    ann, other = await opening.established(), await opening.established()
    bob = await opening.established()
    await ann.subscribe("presence-p", "ann")
    assert (await other.subscribe("presence-p", "ann"))["data"]["presence"]["count"] == 1
    frame = await bob.subscribe("presence-p", "bob")
    assert frame["data"]["presence"]["ids"] == ["ann", "bob"]
    added = {"user_id": "bob", "user_info": {"name": "bob"}}
    assert await ann.frame() == {
        "event": "pusher_internal:member_added",
        "channel": "presence-p",
        "data": added,
    }
    await other.frame()
    await other.socket.close()
    await bob.socket.close()
    frame = await ann.frame()
    assert (frame["event"], frame["data"]) == (
        "pusher_internal:member_removed",
        {"user_id": "bob"},
    )


async def test_cache_channel_sends_last_event_to_new_subscriber(
    sdk: Pusher, opening: Connect
) -> None:
    client = await opening.established()
    await client.subscribe("cache-c")
    assert (await client.frame())["event"] == "pusher:cache_miss"
    await sdk.trigger("cache-c", "e", "1")
    assert (await client.frame())["data"] == 1
    later = await opening.established()
    await later.subscribe("cache-c")
    assert (await later.frame())["data"] == 1


async def test_client_events_are_limited_to_ten_a_second(opening: Connect) -> None:
    one, other = await opening.established(), await opening.established()
    for client in (one, other):
        await client.subscribe("private-c")
    for _ in range(PusherLimits().client_events_per_second + 1):
        await one.send("client-typing", channel="private-c", data={"x": 1})
    assert [(await other.frame())["event"] for _ in range(10)] == ["client-typing"] * 10
    frame = await one.frame()
    assert (frame["event"], frame["data"]["code"]) == ("pusher:error", 4301)
    await one.send("client-typing", channel="public", data={})
    assert (await one.frame())["data"]["code"] == 4301


async def test_signed_in_user_receives_events_and_is_terminated(
    pusher: LocalPusher, sdk: Pusher, opening: Connect
) -> None:
    client = await opening.established()
    await client.send("pusher:subscribe", data={"channel": "#server-to-user-u1", "auth": ""})
    assert (await client.frame())["event"] == "pusher:subscription_error"
    signed = sdk.authenticate_user(client.socket_id, {"id": "u1"})
    await client.send("pusher:signin", data=signed)
    assert (await client.frame())["event"] == "pusher:signin_success"
    await client.subscribe("#server-to-user-u1")
    await sdk.send_to_user("u1", "hello", {"a": 1})
    assert (await client.frame())["event"] == "hello"
    with pytest.raises(PusherBadStatus, match="404"):  # 3.3.4 posts to a wrong path
        await sdk.terminate_user_connections("u1")
    await signed_post(pusher, "/users/u1/terminate_connections")
    assert await client.closed() == 4009


async def signed_post(pusher: LocalPusher, route: str) -> None:
    path = f"/apps/{pusher.app_id}{route}"
    query: dict[str, str] = {
        "auth_key": pusher.key,
        "auth_timestamp": f"{time.time():.0f}",
        "auth_version": "1.0",
        "body_md5": hashlib.md5(b"{}").hexdigest(),
    }
    text = "\n".join(("POST", path, "&".join(f"{k}={query[k]}" for k in sorted(query))))
    signature = hmac.new(pusher.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    parameters: Mapping[str, str] = query | {"auth_signature": signature}
    url = f"http://127.0.0.1:{pusher.port}{path}"
    async with ClientSession() as http, http.post(url, params=parameters, data=b"{}") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("key", "query", "state", "code"),
    [
        ("wrong", "protocol=7", "enabled", 4001),
        (KNOWN[0], "protocol=7", "disabled", 4003),
        (KNOWN[0], "protocol=7", "over its quota", 4004),
        (KNOWN[0], "protocol=99", "enabled", 4007),
        (KNOWN[0], "", "enabled", 4008),
    ],
)
async def test_rejected_client_gets_the_close_code(
    pusher: LocalPusher, opening: Connect, key: str, query: str, state: Any, code: int
) -> None:
    pusher.state = state
    assert await (await opening(query, key)).closed() == code


async def test_call_for_disabled_app_is_forbidden(pusher: LocalPusher, sdk: Pusher) -> None:
    pusher.state = "disabled"
    with pytest.raises(PusherForbidden):
        await sdk.trigger("c", "e", "d")


async def test_faults_are_switched_on_and_off(
    pusher: LocalPusher, sdk: Pusher, opening: Connect
) -> None:
    client = await opening.established()
    await client.subscribe("c")
    pusher.faults.status = 500
    with pytest.raises(PusherBadStatus, match="500"):
        await sdk.trigger("c", "e", "0")
    pusher.faults.heal()
    pusher.faults.lose = 1
    await sdk.trigger("c", "e", "1")
    pusher.faults.heal()
    pusher.faults.reorder = 1
    await sdk.trigger("c", "e", "2")
    await sdk.trigger("c", "e", "3")
    assert [(await client.frame())["data"] for _ in range(2)] == [3, 2]
    await sdk.trigger("c", "e", "4")
    assert (await client.frame())["data"] == 4
    pusher.faults.heal()
    pusher.faults.duplicate = 1
    await sdk.trigger("c", "e", "5")
    assert [(await client.frame())["data"] for _ in range(2)] == [5, 5]
    pusher.faults.refuse = True
    with pytest.raises(InvalidStatus):
        await opening()
    pusher.drop()
    assert await client.closed() == 1006


async def test_close_all_sends_reconnect_code_to_every_client(
    pusher: LocalPusher, opening: Connect
) -> None:
    clients = [await opening.established() for _ in range(3)]
    await pusher.close_all()
    assert [await client.closed() for client in clients] == [4200] * 3
    await pusher.until(lambda: pusher.connections == 0)


@pytest.mark.parametrize("name", ["private-" + "x" * 193, "a b", "a:b"])
async def test_bad_channel_name_is_refused(
    opening: Connect, pusher: LocalPusher, name: str
) -> None:
    client = await opening.established()
    frame = await client.subscribe_to(name)
    assert (frame["event"], frame["channel"]) == ("pusher:subscription_error", name)
    assert pusher.channels.occupied() == []


async def test_refusal_may_name_no_channel(opening: Connect, pusher: LocalPusher) -> None:
    pusher.faults.silent_refusals, pusher.faults.max_name = True, 100
    client = await opening.established()
    frame = await client.subscribe_to("x" * 100)
    assert frame["event"] == "pusher_internal:subscription_succeeded"
    frame = await client.subscribe_to("x" * 101)
    assert frame["event"] == "pusher:error"
    assert "channel" not in frame


async def test_refused_call_may_have_status_200(pusher: LocalPusher, sdk: Pusher) -> None:
    pusher.faults.error_in_body = True
    answer = await sdk.trigger("private-a", "realtime", "x" * 10_241)
    assert answer["code"] == 413
    assert "over 10240 bytes" in answer["error"]
    pusher.faults.html = True
    with pytest.raises(json.JSONDecodeError):
        await sdk.trigger("private-a", "realtime", "1")


async def test_channel_fails_or_is_never_answered(opening: Connect, pusher: LocalPusher) -> None:
    pusher.faults.failing, pusher.faults.unanswered = frozenset({"a"}), frozenset({"b"})
    client = await opening.established()
    assert (await client.subscribe_to("a"))["event"] == "pusher:subscription_error"
    await client.send("pusher:subscribe", data={"channel": "b"})
    assert (await client.subscribe_to("c"))["channel"] == "c"
