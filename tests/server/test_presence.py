"""Presence: who announces members, who may read them, and when a user has left."""

import asyncio
from typing import Any

import pytest

from realtime_bridge import ConfigurationError, InvalidEventError
from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite
from realtime_bridge.protocol.presence.member_list import MemberList
from realtime_bridge.protocol.presence.node_members import MAX_NODE_MEMBERS
from realtime_bridge.protocol.wire.messages import decode_event
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeBackend
from tests.server.harness import TIMEOUT, Client, Frame, Serve, Site, make_bridge, until

CHANNEL = "chat.1"
PRESENCE = "@realtime.presence.chat.1"
QUICK = ServerTiming(presence_stay=0.05, presence_poll=0.2, presence_renewal=0.05)


@pytest.fixture
async def site(serve: Serve) -> Site:
    return await serve(timing=QUICK)


async def latest(site: Site, user: str = "reader", *channels: str) -> tuple[int, Frame]:
    headers = {"authorization": f"Bearer {site.token(user, *channels)}"}
    query = {"channel": PRESENCE}
    async with site.http.get(f"{site.url}/latest", params=query, headers=headers) as answer:
        return answer.status, await answer.json()


async def next_change(client: Client) -> tuple[str, Any]:
    frame = await client.skip_to("event")
    return frame["event"], frame["data"]


async def disconnected(site: Site, user: str) -> None:
    await until(lambda: user not in site.context.registry.users)


def joined(user: str, info: Any = None) -> tuple[str, Any]:
    return "presence.joined", {"user": user, "info": info}


def left(user: str) -> tuple[str, Any]:
    return "presence.left", {"user": user}


async def test_user_joins_and_leaves_once_over_several_connections(site: Site) -> None:
    watcher = await site.connect("watcher")
    await watcher.subscribe(PRESENCE)
    assert await next_change(watcher) == joined("watcher")
    tabs = [await site.connect("ada") for _ in range(3)]
    for tab in tabs:
        await tab.subscribe(PRESENCE)
    assert await next_change(watcher) == joined("ada")
    await tabs[0].socket.close()
    await tabs[1].send("unsubscribe", channel=PRESENCE)
    await tabs[1].ping()
    bob = await site.connect("bob")
    await bob.subscribe(PRESENCE)
    assert await next_change(watcher) == joined("bob")
    await tabs[2].socket.close()
    assert await next_change(watcher) == left("ada")


async def test_page_that_reloads_announces_nothing(serve: Serve) -> None:
    site = await serve(timing=ServerTiming(presence_stay=60))
    watcher = await site.connect("watcher")
    await watcher.subscribe(PRESENCE)
    first = await site.connect("ada")
    await first.subscribe(PRESENCE)
    assert [await next_change(watcher) for _ in "12"] == [joined("watcher"), joined("ada")]
    await first.socket.close()
    await disconnected(site, "ada")
    again = await site.connect("ada")
    await again.subscribe(PRESENCE)
    bob = await site.connect("bob")
    await bob.subscribe(PRESENCE)
    assert await next_change(watcher) == joined("bob")


async def test_number_of_a_member_who_left_is_used_again(site: Site) -> None:
    for user in ("ada", "bob", "cyd"):
        client = await site.connect(user)
        await client.subscribe(PRESENCE)
        assert await next_change(client) == joined(user)
        watcher = await site.connect("watcher")
        await client.socket.close()
        await disconnected(site, user)
        while (await latest(site))[1]["events"][-1]["event"] != "presence.left":
            await watcher.ping()
    _, answer = await latest(site)
    assert len({event["key"] for event in answer["events"]}) == 1


async def test_members_are_described_by_the_application(serve: Serve) -> None:
    bridge = make_bridge(timing=QUICK)

    @bridge.presence("chat.{room}")
    def describe(user: str, room: str) -> dict[str, str] | None:
        if user == "bad":
            raise RuntimeError("no database")
        return {"name": user.title(), "room": room} if user == "ada" else None

    site = await serve(bridge)
    for user, info in (("ada", {"name": "Ada", "room": "1"}), ("bob", None), ("bad", None)):
        client = await site.connect(user)
        await client.subscribe(PRESENCE)
        assert await next_change(client) == joined(user, info)
    with pytest.raises(ConfigurationError, match="match the same names"):
        bridge.presence("chat.{other}")(describe)


@pytest.mark.parametrize("info", [["ada"], {"name": "a" * 1_024}])
async def test_bad_information_is_left_out(
    serve: Serve, info: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = make_bridge(timing=QUICK)

    @bridge.presence("chat.{room}")
    def describe(user: str, room: str) -> Any:
        return info

    site = await serve(bridge)
    client = await site.connect("ada")
    await client.subscribe(PRESENCE)
    assert await next_change(client) == joined("ada")
    assert "presence function failed:" in caplog.text


async def test_polls_make_a_user_present_for_a_time(site: Site) -> None:
    watcher = await site.connect("watcher")
    await watcher.subscribe(PRESENCE)
    assert await next_change(watcher) == joined("watcher")
    status, _ = await site.poll({PRESENCE: None}, user="ada", channels=["*"])
    assert status == 200
    assert await next_change(watcher) == joined("ada")
    assert await next_change(watcher) == left("ada")


async def test_users_beyond_the_limit_of_a_server_are_counted(serve: Serve) -> None:
    site = await serve(timing=ServerTiming(presence_stay=0.05, presence_poll=60))
    watcher = await site.connect("watcher")
    await watcher.subscribe(PRESENCE)
    users = [f"u{number}" for number in range(MAX_NODE_MEMBERS + 9)]
    await asyncio.gather(*(site.poll({PRESENCE: None}, user=u, channels=["*"]) for u in users))
    members = MemberList()
    async with asyncio.timeout(TIMEOUT):
        while members.count != len(users) + 1:
            frame = await watcher.skip_to("event")
            members.handle(decode_event(frame), 0)
    assert len(members.by_user) == MAX_NODE_MEMBERS


async def test_member_that_the_log_ended_is_announced_again(site: Site) -> None:
    client = await site.connect("ada")
    await client.subscribe(PRESENCE)
    assert await next_change(client) == joined("ada")
    (member,) = (await latest(site))[1]["events"]
    write = KeyWrite("end", member["attempt"])
    end = Event.internal(PRESENCE, "presence.left", b"{}", key=member["key"], write=write)
    await site.context.pipeline.log.append([end])
    assert await next_change(client) == ("presence.left", {})
    assert await next_change(client) == joined("ada")


async def test_log_without_owners_denies_presence(serve: Serve) -> None:
    site = await serve(with_log=FakeBackend())
    client = await site.connect("ada")
    await client.send("subscribe", channel=PRESENCE)
    refused = await client.expect("refused")
    assert (refused["code"], "REALTIME_LOG" in refused["message"]) == (400, True)


async def test_members_are_for_those_who_may_listen(serve: Serve) -> None:
    bridge = make_bridge(timing=QUICK)
    bridge.channel("chat.{room}")(lambda user, room: user == "ada")
    site = await serve(bridge)
    ada, eve = await site.connect("ada", "none"), await site.connect("eve", "none")
    await ada.subscribe(PRESENCE)
    assert await next_change(ada) == joined("ada")
    await eve.send("subscribe", channel=PRESENCE)
    assert (await eve.expect("refused"))["code"] == 403
    _, polled = await site.poll({PRESENCE: None}, user="eve", channels=["none"])
    assert polled["channels"][PRESENCE]["error"]["code"] == 403
    assert (await latest(site, "eve", "none"))[0] == 403
    for name in ("@realtime.presence.", "@realtime.presence.@realtime", "@realtime.delivery"):
        await ada.send("subscribe", channel=name)
        assert (await ada.skip_to("refused"))["code"] in (400, 403)
    assert len((await latest(site, "ada", "none"))[1]["events"]) == 1


async def test_revoked_user_leaves(site: Site) -> None:
    watcher, ada = await site.connect("watcher"), await site.connect("ada")
    await watcher.subscribe(PRESENCE)
    assert await next_change(watcher) == joined("watcher")
    await ada.subscribe(PRESENCE)
    assert await next_change(watcher) == joined("ada")
    await site.bridge.revoke(user="ada", channel=CHANNEL)
    assert (await ada.skip_to("refused"))["channel"] == PRESENCE
    assert await next_change(watcher) == left("ada")


async def test_members_cannot_be_forged(site: Site) -> None:
    forged = {"channel": PRESENCE, "event": "presence.joined", "data": {"user": "eve"}}
    status, answer = await site.publish({"events": [forged]})
    assert (status, answer["error"]["code"]) == (400, "invalid_event")
    status, answer = await site.publish({"events": [{**forged, "epoch": "abcdefgh", "offset": 1}]})
    assert (status, answer["error"]["code"]) == (400, "invalid_event")
    with pytest.raises(InvalidEventError, match="servers announce their own changes"):
        await site.bridge.publish(PRESENCE, "presence.joined", {"user": "eve"}, key="eve")
    assert (await latest(site))[1]["events"] == []
