"""Sockets of Pusher's clients: subscriptions, events, exclusion, sign-ins and client events."""

import asyncio
import json

import pytest

from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.pusher.session_commands import PusherTiming
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.harness import FAST, PORTABLE, TIMEOUT, Serve, Site, until
from tests.server.pusher.clients import (
    APP,
    PusherClient,
    connect_pusher,
    open_socket,
    sdk_of,
)


@pytest.fixture(params=[FAST, PORTABLE])
def shell(request: pytest.FixtureRequest) -> str:
    """Run each test over the fast shell, and over ASGI as on other servers."""
    return str(request.param)


async def test_events_of_workers_arrive_as_text_with_their_position(site: Site) -> None:
    client = await connect_pusher(site)
    await client.subscribe("private-job.7")
    receipt = await site.bridge.publish("job.7", "job.progress", {"percent": 30}, id="one")
    assert receipt.position
    frame = json.loads(await client.socket.recv())
    assert frame == {
        "event": "job.progress",
        "channel": "private-job.7",
        "data": '{"percent":30}',
        "realtime": {"epoch": receipt.position.epoch, "offset": 1, "id": "one"},
    }
    await site.bridge.publish("job.7", "job.note", "plain text")
    assert json.loads(await client.socket.recv())["data"] == "plain text"


@pytest.mark.parametrize("path", ["/app", "/realtime/app"])
async def test_public_and_private_channels_of_one_name_are_two(site: Site, path: str) -> None:
    client = await connect_pusher(site, path)
    await client.subscribe("news")
    await site.bridge.publish("news", "secret")
    await site.bridge.publish("public.news", "open")
    assert (await client.frame())["event"] == "open"
    assert (await client.refused("private-public.news"))["status"] == 4009
    assert (await client.refused("presence-room"))["status"] == 401
    assert (await client.refused("private-news", {"auth": f"{APP.key}:00"}))["status"] == 401


async def test_unsubscribed_client_gets_no_event(site: Site) -> None:
    client = await connect_pusher(site)
    await client.subscribe("news")
    await client.send("pusher:unsubscribe", {"channel": "news"})
    await client.ping()
    await site.bridge.publish("public.news", "e")
    await client.ping()
    await client.subscribe("news")
    await client.request("news")
    await client.expect("pusher_internal:subscription_succeeded")
    await site.bridge.publish("public.news", "f")
    assert (await client.frame())["event"] == "f"


async def test_native_and_pusher_clients_share_the_order_and_the_data(site: Site) -> None:
    native = await site.connect()
    await native.subscribe("job.7")
    client = await connect_pusher(site)
    await client.subscribe("private-job.7")
    sdk = sdk_of(site.origin)
    for number in range(20):
        if number % 2:
            await site.bridge.publish("job.7", "step", number)
        else:
            await sdk.trigger("private-job.7", "step", json.dumps(number))
    theirs = [await client.frame() for _ in range(20)]
    ours = await native.events(20)
    assert [frame["data"] for frame in theirs] == list(range(20))
    assert [frame["data"] for frame in ours] == list(range(20))
    assert [frame["realtime"]["id"] for frame in theirs] == [frame["id"] for frame in ours]


async def test_socket_that_caused_an_event_does_not_get_it(site: Site) -> None:
    sender, other = await connect_pusher(site), await connect_pusher(site)
    for client in (sender, other):
        await client.subscribe("news")
    await sdk_of(site.origin).trigger("news", "e", "x", socket_id=sender.socket_id)
    assert (await other.frame())["event"] == "e"
    await sender.ping()


async def test_page_of_our_client_is_the_source_that_its_socket_id_names(site: Site) -> None:
    native = await site.connect()
    await native.subscribe("job.7")
    sdk = sdk_of(site.origin)
    await sdk.trigger("private-job.7", "e", "x", socket_id="01.4294967295")
    (event,) = await native.events(1)
    assert event["source"] == "c_00000001ffffffff"


async def test_cache_channel_gives_its_latest_event(site: Site) -> None:
    first = await connect_pusher(site)
    await first.subscribe("private-cache-state")
    assert (await first.expect("pusher:cache_miss"))["channel"] == "private-cache-state"
    for number in range(3):
        await site.bridge.publish("cache-state", "state", number)
        await first.expect("state")
    second = await connect_pusher(site)
    await second.subscribe("private-cache-state")
    assert (await second.expect("state"))["data"] == 2
    await site.bridge.publish("cache-state", "state", 3)
    assert (await second.expect("state"))["data"] == 3


async def test_encrypted_data_passes_untouched(site: Site) -> None:
    client = await connect_pusher(site)
    await client.subscribe("private-encrypted-chat")
    text = '{"nonce":"AA==","ciphertext":"BB=="}'
    batch = [{"channel": "private-encrypted-chat", "name": "e", "data": text}]
    await sdk_of(site.origin).trigger_batch(batch, already_encoded=True)
    assert json.loads(await client.socket.recv())["data"] == text


async def test_signed_in_user_gets_events_of_its_own(site: Site) -> None:
    client = await connect_pusher(site)
    await client.sign_in("42")
    await client.subscribe("#server-to-user-42")
    assert (await client.refused("#server-to-user-7"))["status"] == 401
    await sdk_of(site.origin).send_to_user("42", "hello", {"a": 1})
    assert (await client.expect("hello"))["data"] == {"a": 1}


async def test_connections_of_one_user_are_limited(serve: Serve) -> None:
    site = await serve(pusher_door=True, limit_connections_per_user=1)
    first, second = await connect_pusher(site), await connect_pusher(site)
    await first.sign_in("42")
    await second.ask_to_sign_in("42")
    assert (await second.expect("pusher:error"))["data"]["code"] == 4004
    assert await second.closed() == 4004
    await first.ping()


async def test_anonymous_sockets_of_one_address_are_limited(serve: Serve) -> None:
    site = await serve(pusher_door=True, limit_connections_per_user=1)
    clients = [await connect_pusher(site) for _ in range(50)]
    with pytest.raises(Exception, match="429"):
        await connect_pusher(site)
    # The proxy is trusted, as it is on this machine by default.
    await connect_pusher(site, additional_headers={"x-forwarded-for": "192.0.2.7"})
    # A signature of the application proves that the client is one of its users.
    await clients[0].subscribe("private-a")
    await connect_pusher(site)


async def test_client_events_reach_the_other_subscribers_in_order(serve: Serve) -> None:
    site = await serve(pusher_door=True, pusher_door_client_events=True)
    sender, other = await connect_pusher(site), await connect_pusher(site)
    for client in (sender, other):
        await client.subscribe("private-chat")
    for data in (1, {"n": 1.0}, "text", None, '{"a":1}', [2]):
        await sender.send("client-typing", data, channel="private-chat")
    received = [(await other.expect("client-typing"))["data"] for _ in range(6)]
    assert received == [1, {"n": 1.0}, "text", None, {"a": 1}, [2]]
    await sender.send("client-" + "x" * 200, 1, channel="private-chat")
    assert (await sender.expect("pusher:error"))["data"]["code"] == 4301
    await sender.send("client-x", "y" * 10_241, channel="private-chat")
    assert (await sender.expect("pusher:error"))["data"]["code"] == 4301


async def test_no_reader_gets_the_id_of_another_socket(serve: Serve) -> None:
    # With it, a user could keep events from that socket: applications pass a request's id on.
    site = await serve(pusher_door=True, pusher_door_client_events=True)
    sender, other = await connect_pusher(site), await connect_pusher(site)
    for client in (sender, other):
        await client.subscribe("private-chat")
    await sdk_of(site.origin).trigger("private-chat", "e", "x", socket_id=sender.socket_id)
    await sender.send("client-typing", {}, channel="private-chat")
    for _ in range(2):
        assert sender.socket_id not in str(await other.socket.recv())
    log = site.context.pipeline.log
    top = (await log.positions(["chat"]))["chat"]
    page = await log.read("chat", Position(top.epoch, 0))
    assert isinstance(page, Page)
    (event,) = page.events  # the log has no event of a client
    assert event.source
    assert sender.socket_id not in repr(event)
    await sender.ping()


async def test_client_events_are_never_logged_and_name_present_users(serve: Serve) -> None:
    site = await serve(pusher_door=True, pusher_door_client_events=True)
    sender, other = await connect_pusher(site), await connect_pusher(site)
    await sender.enter("presence-room", "ann")
    await other.enter("presence-room", "ben")
    native = await site.connect()
    site.bridge.channel("presence.{room}")(lambda *_, **__: True)
    await native.subscribe("presence.room")
    await sender.expect("pusher_internal:member_added")
    await sender.send("client-typing", {"n": 1.0}, channel="presence-room")
    frame = await other.expect("client-typing")
    assert frame == {**frame, "data": {"n": 1.0}, "user_id": "ann"}
    assert "realtime" not in frame
    top = (await site.context.pipeline.log.positions(["presence.room"]))["presence.room"]
    assert top.offset == 0
    await site.bridge.publish("presence.room", "end")
    assert (await native.skip_to("event"))["event"] == "end"
    await sender.expect("end")


async def refusal(client: PusherClient) -> str:
    """Return the error that the server sends before it answers a ping; empty without one."""
    await client.send("pusher:ping", {})
    message = ""
    while (frame := await client.frame())["event"] != "pusher:pong":
        message = frame["data"]["message"]
    return message


async def test_client_events_that_wait_for_the_log_are_limited(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await serve(
        pusher_door=True, pusher_door_client_events=True, limit_frames_per_second=10_000
    )
    log, answers = site.context.pipeline.log, asyncio.Event()
    assert isinstance(log, MemoryBackend)
    pass_on = log.send_ephemeral

    async def wait(event: EphemeralEvent) -> None:
        await answers.wait()
        await pass_on(event)

    sender, other = await connect_pusher(site), await connect_pusher(site)
    for client in (sender, other):
        await client.subscribe("private-chat")
    with monkeypatch.context() as patch:
        patch.setattr(log, "send_ephemeral", wait)
        for number in range(10):
            await sender.send("client-typing", number, channel="private-chat")
        message = ""
        async with asyncio.timeout(TIMEOUT):
            while "wait for the log" not in message:  # after the limit of one second
                await sender.send("client-typing", 10, channel="private-chat")
                message = await refusal(sender)
                await asyncio.sleep(0.02)
    answers.set()
    received = [(await other.expect("client-typing"))["data"] for _ in range(11)]
    assert received == [*range(11)]


@pytest.mark.parametrize("proof", ["sign_in", "subscribe"])
async def test_client_that_proved_something_has_a_budget_of_channels(
    site: Site, proof: str
) -> None:
    client = await connect_pusher(site)
    await getattr(client, proof)("42" if proof == "sign_in" else "private-a")
    budget = site.context.connections.budget
    before = len(budget)
    await client.subscribe("invented")
    assert len(budget) == before + 1


async def test_client_events_are_off_by_default(site: Site) -> None:
    client = await connect_pusher(site)
    await client.subscribe("private-chat")
    await client.send("client-typing", {}, channel="private-chat")
    error = (await client.expect("pusher:error"))["data"]
    assert error["code"] == 4301
    assert "off" in error["message"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/app/other?protocol=7", 4001),
        (f"/app/{APP.key}", 4008),
        (f"/app/{APP.key}?protocol=4", 4007),
        (f"/realtime/app/{APP.key}?protocol=8", 4007),
        # Longer than the payload of a close frame in bytes, not in characters.
        (f"/app/{'%F0%9F%98%80' * 40}?protocol=7", 4001),
    ],
)
async def test_client_of_another_app_gets_the_close_code(site: Site, path: str, code: int) -> None:
    client = await open_socket(site, path)
    assert await client.closed() == code


async def test_disabled_app_has_its_close_code(serve: Serve) -> None:
    site = await serve(pusher_door=True, enabled=False)
    client = await open_socket(site, f"/app/{APP.key}?protocol=7")
    assert await client.closed() == 4003


@pytest.mark.parametrize("sent", ["{", b"bytes", "x" * 70_000])
async def test_malformed_frame_ends_the_connection(site: Site, sent: str | bytes) -> None:
    client = await connect_pusher(site)
    await client.socket.send(sent)
    assert (await client.expect("pusher:error"))["data"]["code"] == 4010
    assert await client.closed() == 4010


async def test_broken_websocket_frame_has_the_code_of_its_standard(site: Site) -> None:
    client = await connect_pusher(site)
    client.socket.transport.write(b"\x83\x80\x00\x00\x00\x00")  # an opcode that is reserved
    assert await client.closed() == 1002


async def test_event_of_a_batch_skips_its_own_socket_alone(site: Site) -> None:
    sender, other = await connect_pusher(site), await connect_pusher(site)
    native = await site.connect()
    for client in (sender, other):
        await client.subscribe("private-a")
    await native.subscribe("a")
    batch = [
        {"channel": "private-a", "name": "e", "data": str(number)}
        | ({"socket_id": sender.socket_id} if number % 2 else {})
        for number in range(6)
    ]
    await sdk_of(site.origin).trigger_batch(batch, already_encoded=True)
    assert [(await other.expect("e"))["data"] for _ in range(6)] == [*range(6)]
    assert [(await sender.expect("e"))["data"] for _ in range(3)] == [0, 2, 4]
    assert [frame["data"] for frame in await native.events(6)] == [*range(6)]
    await sender.ping()


async def test_silent_and_idle_clients_are_closed(serve: Serve) -> None:
    timing = ServerTiming(pusher=PusherTiming(activity=1, pong=0.2, idle=0.6))
    site = await serve(pusher_door=True, timing=timing)
    idle, silent = await connect_pusher(site), await connect_pusher(site)
    await silent.subscribe("news")
    assert (await idle.expect("pusher:error"))["data"]["code"] == 4202
    assert await idle.closed() == 4202
    await silent.expect("pusher:ping")
    await silent.send("pusher:pong", {})
    await silent.expect("pusher:ping")
    assert (await silent.expect("pusher:error"))["data"]["code"] == 4201
    assert await silent.closed() == 4201


async def test_slow_client_is_closed_and_may_come_back(serve: Serve) -> None:
    site = await serve(pusher_door=True, limit_unsent_bytes=2_000, send_buffer=4_096)
    client = await connect_pusher(site, max_queue=1)
    watcher = await connect_pusher(site)
    await client.subscribe("news")
    await watcher.subscribe("news")
    while not site.context.connections.statistics.closed[4100]:
        await site.bridge.publish("public.news", "e", "x" * 100_000)
        await watcher.expect("e")
    assert await client.closed() in (4100, 1006)


async def test_page_of_another_origin_may_not_connect(site: Site) -> None:
    with pytest.raises(Exception, match="403"):
        await connect_pusher(site, origin="https://other.example")


async def test_revoked_user_is_closed_and_a_revoked_channel_ended(site: Site) -> None:
    client, other = await connect_pusher(site), await connect_pusher(site)
    await client.sign_in("42")
    for one in (client, other):
        await one.subscribe("private-job.7")
        await one.subscribe("private-job.8")
    await site.bridge.revoke(user="42", channel="job.7")
    denial = await client.expect("pusher:subscription_error")
    assert (denial["channel"], denial["data"]["status"]) == ("private-job.7", 403)
    assert (await client.refused("private-job.7"))["status"] == 401
    await other.ping()
    await site.bridge.revoke(channel="job.8")
    for one in (client, other):
        assert (await one.expect("pusher:subscription_error"))["channel"] == "private-job.8"
    # The log repeats a revocation: a later subscription is none of its business.
    await other.subscribe("private-job.8")
    site.context.registry.revoke(None, "job.8")
    await other.ping()
    receipt = await site.bridge.revoke(user="42")
    assert any("did not sign in" in sentence for sentence in receipt.remaining)
    assert await client.closed() == 4009
    await other.ping()


async def test_drained_client_is_closed_once_and_then_not_let_in(site: Site) -> None:
    client = await connect_pusher(site)
    await client.subscribe("news")
    draining = asyncio.create_task(site.bridge.drain())
    assert await client.closed() == 4200
    await draining
    for path in ("/app", "/realtime/app"):
        with pytest.raises(Exception, match="503"):
            await connect_pusher(site, path)


async def test_gap_of_a_channel_is_counted(site: Site) -> None:
    client = await connect_pusher(site)
    await client.subscribe("news")
    await site.bridge.publish("public.news", "e")
    await client.expect("e")
    epoch = site.context.hub.fanouts["public.news"].position.epoch
    await site.context.pipeline.log.rotate_epoch("public.news", epoch)
    await site.bridge.publish("public.news", "f")
    await until(lambda: site.context.connections.statistics.pusher_gaps == 1)
    async with site.http.get(f"{site.url}/metrics") as response:
        assert "realtime_pusher_door_gaps_total 1.0" in await response.text()
    await client.ping()
