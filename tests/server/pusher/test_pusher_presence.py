"""Presence channels of Pusher's clients: members, joins, departures and seats."""

import json
from typing import Any

import pytest

from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeBackend
from tests.server.harness import Serve, Site, make_bridge, until
from tests.server.pusher.clients import connect_pusher, sdk_of

ROOM = "presence-room"
NATIVE = "@realtime.presence.presence.room"
QUICK = ServerTiming(presence_stay=0.05, presence_renewal=0.05)


@pytest.fixture
async def site(serve: Serve) -> Site:
    return await serve(pusher_door=True, timing=QUICK)


async def users_of(site: Site, name: str = ROOM) -> set[str]:
    """Return the users that the HTTP API shows."""
    answer = await sdk_of(site.origin).users_info(name)
    return {user["id"] for user in answer["users"]}


async def test_user_joins_and_leaves_once_over_several_tabs(site: Site) -> None:
    watcher = await connect_pusher(site)
    assert await watcher.enter(ROOM, "w") == {"ids": ["w"], "hash": {"w": None}, "count": 1}
    tabs = [await connect_pusher(site) for _ in range(3)]
    for tab in tabs:
        members = await tab.enter(ROOM, 7, {"name": "Ada"})
        assert members["hash"]["7"] == {"name": "Ada"}
    frame = await watcher.expect("pusher_internal:member_added")
    assert (frame["channel"], frame["data"]) == (
        ROOM,
        {"user_id": "7", "user_info": {"name": "Ada"}},
    )
    await tabs[0].socket.close()
    await tabs[1].send("pusher:unsubscribe", {"channel": ROOM})
    await tabs[1].ping()
    other = await connect_pusher(site)
    assert set((await other.enter(ROOM, "o"))["ids"]) == {"w", "7", "o"}
    assert await watcher.change() == ("added", "o")
    assert await users_of(site) == {"w", "7", "o"}
    await tabs[2].socket.close()
    assert await watcher.change() == ("removed", "7")
    assert await other.change() == ("removed", "7")
    info = await sdk_of(site.origin).channel_info(ROOM, ["user_count", "subscription_count"])
    assert info == {"occupied": True, "user_count": 2, "subscription_count": 2}
    listed = await sdk_of(site.origin).channels_info("presence-", ["user_count"])
    assert listed == {"channels": {ROOM: {"user_count": 2}}}


async def test_our_clients_and_pushers_share_one_list(serve: Serve) -> None:
    bridge = make_bridge(pusher_door=True, timing=QUICK, authenticate=lambda _: "42")
    bridge.channel("presence.{room}")(lambda _, room: room == "room")
    bridge.presence("presence.{room}")(lambda user, room: {"name": f"{user} in {room}"})
    site = await serve(bridge)
    native = await site.connect("ada")
    await native.subscribe(NATIVE)
    await native.skip_to("event")
    client = await connect_pusher(site)
    fields = {"socket_id": client.socket_id, "channel_name": ROOM}
    async with site.http.post(f"{site.url}/auth/pusher", data=fields) as answer:
        signed = json.loads(await answer.read())
    assert json.loads(signed["channel_data"]) == {
        "user_id": "42",
        "user_info": {"name": "42 in room"},
    }
    await client.request(ROOM, signed)
    frame = await client.expect("pusher_internal:subscription_succeeded")
    assert frame["data"]["presence"]["hash"] == {
        "ada": {"name": "ada in room"},
        "42": {"name": "42 in room"},
    }
    event = await native.skip_to("event")
    assert event["data"] == {"user": "42", "info": {"name": "42 in room"}}
    await native.socket.close()
    assert await client.change() == ("removed", "ada")
    await site.bridge.publish("presence.room", "e", 1)
    assert (await client.expect("e"))["channel"] == ROOM


async def test_members_beyond_100_have_their_ids_alone(serve: Serve) -> None:
    site = await serve(pusher_door=True, timing=QUICK, limit_frames_per_second=1_000)
    watcher = await connect_pusher(site)
    await watcher.enter(ROOM, "w", {"n": 0})
    for number in range(120):
        client = await connect_pusher(site)
        await client.enter(ROOM, f"u{number}", {"n": number})
    for _ in range(120):
        assert (await watcher.change())[0] == "added"
    late = await connect_pusher(site)
    members = await late.enter(ROOM, "late", {"n": "late"})
    assert members["count"] == len(members["ids"]) == 122
    assert sum(info != {} for info in members["hash"].values()) == 101
    assert members["hash"]["late"] == {"n": "late"}
    await client.socket.close()
    assert await watcher.change() == ("added", "late")
    assert await watcher.change() == await late.change() == ("removed", "u119")


@pytest.mark.parametrize(
    ("user", "info", "reason"),
    [
        ("", None, "no user_id"),
        ("x" * 257, None, "256 printable"),
        ("a", ["list"], "not an object"),
        ("a", {"name": "x" * 1_024}, "1,024"),
    ],
)
async def test_bad_member_is_refused(site: Site, user: str, info: Any, reason: str) -> None:
    client = await connect_pusher(site)
    await client.ask_to_enter(ROOM, user, info)
    error = (await client.expect("pusher:subscription_error"))["data"]
    assert (error["status"], reason in error["error"]) == (401, True)
    await client.enter(ROOM, "a")


async def test_presence_takes_a_seat_of_its_user(serve: Serve) -> None:
    site = await serve(pusher_door=True, timing=QUICK, limit_connections_per_user=1)
    first, second = await connect_pusher(site), await connect_pusher(site)
    await first.enter(ROOM, "42")
    await second.ask_to_enter(ROOM, "42")
    assert (await second.expect("pusher:subscription_error"))["data"]["status"] == 4004
    await second.enter(ROOM, "43")
    # A sign-in is worth more than the user of a channel.
    await second.sign_in("44")
    assert site.context.registry.users == {"42": 1, "44": 1}
    await first.socket.close()
    await until(lambda: site.context.registry.users == {"44": 1})


async def test_revoked_member_leaves(site: Site) -> None:
    watcher, client = await connect_pusher(site), await connect_pusher(site)
    await watcher.enter(ROOM, "w")
    await client.enter(ROOM, "42")
    assert await watcher.change() == ("added", "42")
    await site.bridge.revoke(user="42")
    denial = await client.expect("pusher:subscription_error")
    assert (denial["channel"], denial["data"]["status"]) == (ROOM, 403)
    assert await watcher.change() == ("removed", "42")
    # The signature is still right for this socket; another one needs a new signature.
    await client.ask_to_enter(ROOM, "42")
    denial = await client.expect("pusher:subscription_error")
    assert (denial["channel"], denial["data"]["status"]) == (ROOM, 401)
    await client.enter(ROOM, "43")
    later = await connect_pusher(site)
    await later.enter(ROOM, "42")


async def test_signature_from_before_a_revocation_signs_no_user_in(site: Site) -> None:
    client = await connect_pusher(site)
    await site.bridge.revoke(user="42")
    await client.ask_to_sign_in("42")
    assert await client.closed() == 4009
    later = await connect_pusher(site)
    await later.sign_in("42")


async def test_members_are_read_again_after_a_reset(site: Site) -> None:
    first, second = await connect_pusher(site), await connect_pusher(site)
    await first.enter(ROOM, "a")
    await second.enter(ROOM, "b")
    assert await first.change() == ("added", "b")
    epoch = site.context.hub.fanouts[NATIVE].position.epoch
    await site.context.pipeline.log.rotate_epoch(NATIVE, epoch)
    third = await connect_pusher(site)
    await third.enter(ROOM, "c")
    assert await first.change() == ("added", "c")
    await second.socket.close()
    assert await first.change() == ("removed", "b")


async def test_room_without_clients_is_closed(site: Site) -> None:
    client = await connect_pusher(site)
    await client.enter(ROOM, "a")
    await client.send("pusher:unsubscribe", {"channel": ROOM})
    await client.ping()
    assert not site.context.hub.fanouts[NATIVE].in_use
    await client.enter(ROOM, "a")


async def test_log_without_owners_has_no_presence(serve: Serve) -> None:
    site = await serve(make_bridge(pusher_door=True, with_log=FakeBackend()))
    client = await connect_pusher(site)
    await client.ask_to_enter(ROOM, "a")
    error = (await client.expect("pusher:subscription_error"))["data"]
    assert (error["status"], "REALTIME_LOG" in error["error"]) == (501, True)


async def test_long_name_leaves_room_for_the_members(site: Site) -> None:
    client = await connect_pusher(site)
    await client.enter("presence-" + "x" * 100, "a")
    error = await client.refused("presence-" + "x" * 101)
    assert (error["status"], "1 to 100" in error["error"]) == (4009, True)
