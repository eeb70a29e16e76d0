"""Unmodified pusher-js 8 and 7, laravel-echo and server SDKs against servers on shared logs."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge.client import open_presence
from realtime_bridge.server.timing import ServerTiming
from tests.server.harness import FAST, Site, Sites, make_bridge, until
from tests.server.pusher.clients import sdk_of
from tests.server.pusher.node_programs import NodePusher, call_node_sdk
from tests.services.redis import RedisServer

CLIENTS: list[dict[str, Any]] = [
    {"library": "pusher-js"},
    {"library": "pusher-js-7"},
    {"library": "pusher-js", "broadcaster": "pusher"},
    {"library": "pusher-js", "broadcaster": "reverb"},
    {"library": "pusher-js", "wsPath": "/realtime"},
]
IDS = ["pusher-js 8", "pusher-js 7", "echo pusher", "echo reverb", "below the mount"]
LAST = "App\\Events\\OrderPaid"


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def nodes(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Site]]:
    """Start a server on a log in memory, or two on one Redis."""
    async with AsyncExitStack() as exits:
        options: dict[str, Any] = {}
        if request.param == "redis":
            server = exits.enter_context(RedisServer(tmp_path / "redis"))
            monkeypatch.setenv("REALTIME_REDIS_URL", server.url)
            options = {"backend": "redis"}
        elif request.param == "sqlite":
            options = {"log": "sqlite", "backend": "websocket"}
            monkeypatch.setenv("REALTIME_SQLITE_PATH", str(tmp_path / "log.db"))
        sites = await exits.enter_async_context(Sites(FAST))
        started = []
        for _ in range(2 if request.param == "redis" else 1):
            bridge = make_bridge(
                pusher_door=True,
                pusher_door_client_events=True,
                authenticate=lambda request: request.query_params.get("user", "42"),
                timing=ServerTiming(presence_stay=0.1),
                **options,
            )
            bridge.channel("presence.{room}")(lambda *_, **__: True)
            bridge.presence("presence.{room}")(lambda user, room: {"name": user, "room": room})
            bridge.channel("orders.{order}")(lambda user, order: (user, order) == ("42", "7"))
            bridge.channel("public.news")(lambda _: True)
            started.append(await sites.start(bridge))
        yield started


async def test_each_client_receives_and_is_refused(nodes: list[Site]) -> None:
    """All clients at once: starting a Node process takes the longest."""
    async with AsyncExitStack() as exits:
        origins = cycle(node.origin for node in nodes)
        clients = [
            await exits.enter_async_context(NodePusher.run(next(origins), **options))
            for options in CLIENTS
        ]
        for client in clients:
            await client.connected()
            await client.subscribe("news", "note", LAST)
            await client.subscribe("private-orders.7", "note", LAST)
            await client.send("subscribe", "private-orders.8")
            assert (await client.until(refused="private-orders.8"))["status"] == 403
        first, last = nodes[0], nodes[-1]
        sdk = sdk_of(last.origin)
        await sdk.trigger(["news", "private-orders.7"], "note", {"n": 1.5, "text": "Grüße"})
        await first.bridge.publish("orders.7", LAST, "plain text")
        for client in clients:
            assert await client.events(2) == [{"n": 1.5, "text": "Grüße"}] * 2
            assert await client.events(1) == ["plain text"]


async def test_excluded_socket_and_client_events(nodes: list[Site]) -> None:
    async with (
        NodePusher.run(nodes[0].origin) as sender,
        NodePusher.run(nodes[-1].origin, broadcaster="reverb") as other,
    ):
        socket_id = await sender.connected()
        await other.connected()
        for client in (sender, other):
            await client.subscribe("private-orders.7", "note", "client-typing", "end")
        await sdk_of(nodes[-1].origin).trigger("private-orders.7", "note", "x", socket_id)
        await sender.send("trigger", "private-orders.7", "client-typing", {"by": "sender"})
        await other.until(event="client-typing", data={"by": "sender"})
        await nodes[0].bridge.publish("orders.7", "end", 1)
        # The excluded sender got neither its own trigger nor its client event.
        assert await sender.events(1) == [1]


async def test_user_signs_in_and_is_terminated(nodes: list[Site]) -> None:
    async with NodePusher.run(nodes[0].origin) as client:
        await client.connected()
        await client.send("signin")
        await client.until(signedIn=True)
        origin = nodes[-1].origin
        # pusher-js subscribes by itself, and reports nothing.
        fanouts = nodes[0].context.hub.fanouts
        await until(lambda: "server-to-user.42" in fanouts)
        await until(lambda: fanouts["server-to-user.42"].fast_subscribers)
        await sdk_of(origin).send_to_user("42", "note", {"n": 1})
        assert (await client.until(user=True))["data"] == {"n": 1}
        status, _ = await call_node_sdk(origin, "terminateUserConnections", "42")
        assert status == 200
        await client.until(state="disconnected")


async def test_node_sdk_publishes_and_reads_counts(nodes: list[Site]) -> None:
    origin = nodes[-1].origin
    async with NodePusher.run(nodes[0].origin) as client:
        await client.connected()
        await client.subscribe("news", "one", "two")
        batch = [
            {"channel": "news", "name": "one", "data": "text"},
            {"channel": "news", "name": "two", "data": json.dumps({"a": 1})},
        ]
        assert await call_node_sdk(origin, "triggerBatch", batch) == (200, "{}")
        assert await client.events(2) == ["text", {"a": 1}]
        query = {"path": "/channels/news", "params": {"info": "subscription_count"}}
        for node in nodes:  # a count on another node arrives within a second
            while True:
                status, text = await call_node_sdk(node.origin, "get", query)
                if status == 200 and json.loads(text)["occupied"]:
                    break
            assert json.loads(text) == {"occupied": True, "subscription_count": 1}
        status, _ = await call_node_sdk(origin, "trigger", "private-public.news", "e", "x")
        assert status == 400


def client_of(origin: str, user: str, **options: Any) -> AbstractAsyncContextManager[NodePusher]:
    """Return a client of a user, to which the server's own endpoint signs channels."""
    return NodePusher.run(origin, auth=f"{origin}/realtime/auth/pusher?user={user}", **options)


async def test_members_are_shown_once_over_tabs_and_nodes(nodes: list[Site]) -> None:
    (first, last), name = (nodes[0].origin, nodes[-1].origin), "presence-room"
    token = nodes[-1].token("python")
    async with (
        client_of(first, "js8") as js8,
        client_of(last, "js7", library="pusher-js-7") as js7,
        client_of(first, "echo", broadcaster="reverb") as echo,
        client_of(last, "echo") as tab,
        open_presence(nodes[-1].url, "presence.room", token=token) as own,
    ):
        for one in (js8, js7, echo, tab):
            await one.connected()
        await js8.send("subscribe", name)
        me = {"id": "js8", "info": {"name": "js8", "room": "room"}}
        await js8.until(subscribed=name, me=me)
        await js7.subscribe(name)
        await js8.until(added="js7", info={"name": "js7", "room": "room"})
        await echo.send("subscribe", name)
        await js8.until(added="echo")
        await js7.until(added="echo")
        await tab.subscribe(name)
        async for change in own:  # our own client sees the same users
            if change.member.user == "echo":
                break
        assert {member.user for member in own.members} >= {"python", "js7", "echo"}
        for node in nodes:
            users = await sdk_of(node.origin).users_info(name)
            assert {user["id"] for user in users["users"]} == {"js8", "js7", "echo", "python"}
        await tab.send("unsubscribe", name)
        await js7.send("disconnect")
        gone = await js8.until(removed="js7")
        assert gone["count"] == 3
        assert (await echo.until(leaving={"name": "js7", "room": "room"}))["leaving"]
