"""Tests of a client's WebSocket: authorization, messages, and closing."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import jwt
import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire import messages
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.server.connections.connection import READS_AT_ONCE
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.fakes import FakeBackend, Gate
from tests.server.harness import SECRET, Serve, Site, context_of, make_bridge, until

CHANNEL = "job.7"
SUBSCRIBE = messages.encode("subscribe", channel="slow")
UNSUBSCRIBE = messages.encode("unsubscribe", channel="slow")


async def test_client_receives_published_events(site: Site) -> None:
    client = await site.connect()
    subscribed = await client.subscribe(CHANNEL)
    assert (subscribed["offset"], subscribed["recovered"], subscribed["events"]) == (0, False, [])
    await site.bridge.publish(CHANNEL, "job.progress", {"percent": 30})
    event = await client.expect("event")
    assert (event["offset"], event["epoch"]) == (1, subscribed["epoch"])
    assert (event["event"], event["data"]) == ("job.progress", {"percent": 30})


async def test_client_receives_no_event_after_unsubscribe(site: Site) -> None:
    client = await site.connect()
    await client.subscribe("a")
    await client.subscribe("b")
    await client.send("unsubscribe", channel="a")
    await client.ping()
    await site.fill("a", [1])
    await site.fill("b", [2])
    assert (await client.expect("event"))["channel"] == "b"


async def test_the_subprotocol_is_chosen_when_it_is_offered(site: Site) -> None:
    ours, other = Subprotocol("realtime.v1"), Subprotocol("other")
    for offered, chosen in (([other, ours], ours), ([other], None), (None, None)):
        client = await site.open(subprotocols=offered)
        assert client.socket.subprotocol == chosen


async def test_a_fresh_token_in_band_brings_its_own_channels(site: Site) -> None:
    client = await site.connect("42", "job.*")
    await client.send("token", token=site.token("42", "stock.*"))
    assert (await client.subscribe("stock.7"))["channel"] == "stock.7"
    await client.send("subscribe", channel="job.7")
    assert (await client.expect("refused"))["code"] == 403


async def test_a_client_that_goes_away_leaves_nothing_behind(site: Site) -> None:
    polite, rude = await site.connect("42"), await site.connect("42")
    for client in (polite, rude):
        await client.subscribe(CHANNEL)
    assert site.context.registry.users == {"42": 2}
    await polite.socket.close()
    rude.socket.transport.abort()
    await site.left_nothing()


async def test_one_user_may_connect_only_so_often(site: Site) -> None:
    watcher = await site.watch()
    clients = [await site.connect("42") for _ in range(20)]
    one_too_many = await site.open()
    await one_too_many.send("connect", token=site.token("42"))
    assert (await one_too_many.failed())[0] == 4409
    assert site.context.registry.users == {"42": 20, "watcher": 1}
    await clients[0].socket.close()
    await until(lambda: site.context.registry.users["42"] == 19)
    await site.connect("42")
    await watcher.notices_nothing()


async def test_token_of_another_user_closes_the_connection(site: Site) -> None:
    watcher = await site.watch()
    victim = await site.connect("bob")
    attacker = await site.connect("ann")
    await attacker.send("token", token=site.token("bob"))
    code, error = await attacker.failed()
    assert (code, error["message"]) == (4401, "the token is another user's")
    await until(lambda: site.context.registry.users == {"bob": 1, "watcher": 1})
    await victim.ping()
    await watcher.notices_nothing()


def token(site: Site, **claims: Any) -> str:
    fields = jwt.decode(site.token(), options={"verify_signature": False})
    return jwt.encode(fields | claims, SECRET)


@pytest.mark.parametrize(
    ("claims", "wrong"),
    [
        ({"exp": 1}, "expired"),
        ({"aud": "other"}, "audience"),
        ({"iss": "other"}, "another application"),
        ({"channels": "job.*"}, "list of patterns"),
    ],
)
async def test_a_token_that_is_not_good_ends_the_connection(
    site: Site, claims: dict[str, Any], wrong: str
) -> None:
    watcher = await site.watch()
    for renewed in (False, True):
        client = await (site.connect() if renewed else site.open())
        await client.send("token" if renewed else "connect", token=token(site, **claims))
        code, error = await client.failed()
        assert (code, wrong in error["message"]) == (4401, True)
    await watcher.notices_nothing()


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "token_expired"),
        ({"iat": 4_000_000_000}, "token_not_yet_valid"),
        ({"iss": "other"}, "bad_token"),
    ],
)
async def test_error_of_a_refused_token_has_its_reason(
    site: Site, claims: dict[str, Any], reason: str
) -> None:
    client = await site.open()
    await client.send("connect", token=token(site, **claims))
    code, error = await client.failed()
    assert (code, error["code"], error["reason"]) == (4401, 4401, reason)


async def test_a_forged_token_ends_the_connection(site: Site) -> None:
    watcher = await site.watch()
    for forged in (Tokens("x" * 32, issuer="realtime").issue("42"), "nonsense", ""):
        client = await site.open()
        await client.send("connect", token=forged)
        assert (await client.failed())[0] == 4401
    await watcher.notices_nothing()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b'{"type":"ping"}', "binary"),
        (b"", "binary"),
        ("", "not JSON"),
        ("nonsense", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "no type"),
        ('{"type":' + "[" * 1_020 + "]" * 1_020 + "}", "no type"),
        ('{"type":"hello"}', "unknown frame type"),
        ('{"type":"ping","more":"' + "x" * 65_536 + '"}', "over 65,536 bytes"),
        ('{"type":"ping","more":"' + "x" * 3_000_000 + '"}', "over 65,536 bytes"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_malformed_message_closes_only_its_connection(
    site: Site, text: str | bytes, wrong: str
) -> None:
    watcher = await site.watch()
    client = await site.connect()
    await client.socket.send(text)
    code, error = await client.failed()
    assert (code, error["code"], wrong in error["message"]) == (4400, 4400, True)
    await watcher.notices_nothing()


async def test_a_first_frame_that_is_not_connect_ends_the_connection(site: Site) -> None:
    watcher = await site.watch()
    client = await site.open()
    await client.send("subscribe", channel=CHANNEL)
    assert (await client.failed())[0] == 4400
    await watcher.notices_nothing()


async def test_too_many_frames_end_the_connection(site: Site) -> None:
    watcher = await site.watch()
    client = await site.connect()
    for _ in range(50):
        await client.send("ping")
    code, error = await client.failed()
    assert (code, error["code"]) == (4429, 429)
    await watcher.notices_nothing()


async def test_denied_channel_leaves_the_connection_open(serve: Serve) -> None:
    site = await serve(limit_channels_per_connection=2)
    watcher = await site.watch()
    client = await site.connect("42", "job.*")
    await client.subscribe("job.1")
    await client.subscribe("user-42")
    for channel, code in (("job.2", 429), ("private-job", 400), ("job 7", 400)):
        await client.send("subscribe", channel=channel)
        refused = await client.expect("refused")
        assert (refused["channel"], refused["code"]) == (channel, code)
    await client.send("unsubscribe", channel="job.1")
    await client.send("subscribe", channel="secret")
    assert (await client.expect("refused"))["code"] == 403
    await site.fill("user-42", [1])
    await client.events(1)
    await watcher.notices_nothing()


async def test_channels_open_at_once_and_few_are_read_at_a_time(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, gate, reading = FakeBackend(), asyncio.Event(), list[str]()
    read = backend.read

    async def read_slowly(channel: str, after: Position, limit: int = 500) -> Page | Reset:
        reading.append(channel)
        await gate.wait()
        return await read(channel, after, limit)

    monkeypatch.setattr(backend, "read", read_slowly)
    site = await serve(with_log=backend)
    client = await site.connect("42", "job.*")
    names = [f"job.{number}" for number in range(3 * READS_AT_ONCE)]
    for name, top in (await backend.positions(names)).items():
        await client.send("subscribe", channel=name, position=top.to_json())
    await until(lambda: site.context.hub.fanouts.keys() >= {*names})
    await until(lambda: len(reading) == READS_AT_ONCE)
    gate.set()
    answers = [await client.expect("subscribed") for _ in names]
    assert {answer["channel"] for answer in answers} == {*names}


class _WaitingLog(MemoryBackend):
    """Log in this process whose answers wait at a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        await self.gate.wait()
        return await super().positions(channels)


async def test_subscription_that_has_to_wait_after_all_is_answered_later(serve: Serve) -> None:
    log = _WaitingLog()
    site = await serve(with_log=log)
    client = await site.connect("42", "job.*")
    log.gate.close_after(0)
    await client.send("subscribe", channel=CHANNEL)
    await log.gate.reached.wait()
    await client.ping()
    log.gate.open()
    assert (await client.expect("subscribed"))["channel"] == CHANNEL
    await site.fill(CHANNEL, [1])
    await client.events(1)


async def test_page_that_is_read_at_once_has_the_missed_events(site: Site) -> None:
    client = await site.connect("42", "job.*")
    top = await client.subscribe(CHANNEL)
    await client.send("unsubscribe", channel=CHANNEL)
    await client.ping()
    await site.fill(CHANNEL, [1, 2])
    page = await client.subscribe(CHANNEL, {"epoch": top["epoch"], "offset": 0})
    assert (len(page["events"]), page["recovered"]) == (2, True)
    await site.fill(CHANNEL, [3])
    assert (await client.expect("event"))["offset"] == 3


async def test_failing_log_refuses_a_subscription_for_now(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise BackendUnavailableError("it is down")

    client = await site.connect("42", "job.*")
    monkeypatch.setattr(site.context.pipeline.log, "positions", fail)
    await client.send("subscribe", channel=CHANNEL)
    refused = await client.expect("refused")
    assert (refused["channel"], refused["code"]) == (CHANNEL, 500)


async def test_a_page_of_another_origin_may_not_connect(serve: Serve) -> None:
    site = await serve(origins=("https://listed.com",))
    watcher = await site.watch()
    for foreign in ("https://evil.com", "null", "http://["):
        with pytest.raises(InvalidStatus) as caught:
            await site.open(origin=foreign)
        assert caught.value.response.status_code == 403
        assert b"REALTIME_ORIGINS" in (caught.value.response.body or b"")
    for origin in ("https://listed.com", site.origin, None):
        await site.connect(origin=origin)
    await watcher.notices_nothing()


async def test_a_user_in_the_url_proves_nothing_outside_development(site: Site) -> None:
    watcher = await site.watch()
    with pytest.raises(InvalidStatus) as caught:
        await site.open("?userId=test-user")
    assert caught.value.response.status_code == 401
    assert b"connect with a token" in (caught.value.response.body or b"")
    await watcher.notices_nothing()


async def test_a_developer_connects_and_subscribes_by_the_url_alone(serve: Serve) -> None:
    site = await serve(dev=True)
    client = await site.open("?userId=test-user")
    assert (await client.expect("welcome"))["user"] == "test-user"
    assert (await client.expect("subscribed"))["channel"] == "user-test-user"
    await site.fill("user-test-user", [1])
    await client.events(1)


async def test_developers_too_may_connect_only_so_often(serve: Serve) -> None:
    site = await serve(dev=True, limit_connections_per_user=1)
    first = await site.open("?userId=test-user")
    await first.expect("welcome")
    assert (await (await site.open("?userId=test-user")).failed())[0] == 4409
    await first.ping()


async def test_client_that_does_not_connect_in_time_is_closed(
    serve: Serve,
) -> None:
    site = await serve(timing=ServerTiming(session=SessionTiming(connect=0.2)))
    watcher = await site.watch()
    client = await site.open()
    code, error = await client.failed()
    assert (code, "no connect within" in error["message"]) == (4408, True)
    await watcher.notices_nothing()


async def test_the_connection_ends_with_its_token(
    serve: Serve,
) -> None:
    site = await serve(timing=ServerTiming(session=SessionTiming(token_skew=0.0)))
    watcher = await site.watch()
    client = await site.open()
    await client.introduce(site.token(seconds=1))
    code, error = await client.failed()
    assert (code, error["message"]) == (4401, "the token has expired")
    await watcher.notices_nothing()


async def test_the_paths_of_no_socket_are_not_found(site: Site) -> None:
    for route in ("nothing", "poll", "ws/more"):
        with pytest.raises(InvalidStatus) as caught:
            await site.open_route(route, {})
        assert caught.value.response.status_code == 404


async def test_log_outage_denies_a_subscription_for_now(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = await site.watch()
    client = await site.connect()
    await client.subscribe(CHANNEL)

    async def down(*_: object) -> None:
        raise BackendUnavailableError("the log at redis://secret@host is down")

    with monkeypatch.context() as patch:
        patch.setattr(site.context.pipeline.log, "read", down)
        position = {"epoch": "k3v9q2wz", "offset": 0}
        await client.send("subscribe", channel=CHANNEL, position=position)
        refused = await client.expect("refused")
        assert (refused["code"], refused["message"]) == (500, "the log cannot be read now")
    await client.subscribe(CHANNEL)
    await watcher.notices_nothing()
    assert "log unavailable" in caplog.text


def subscription_tasks() -> list[asyncio.Task[object]]:
    """Return the tasks of subscriptions; other background work starts and ends meanwhile."""
    return [task for task in asyncio.all_tasks() if task.get_name() == "subscription"]


class TestQuickTurns:
    @pytest.fixture
    def gate(self) -> Gate:
        return Gate()

    @pytest.fixture
    async def site(self, serve: Serve, gate: Gate) -> Site:
        bridge = make_bridge()

        @bridge.channel("slow")
        async def may_listen(user: str) -> bool:
            await gate.wait()
            return True

        return await serve(bridge)

    async def test_subscribing_and_leaving_leaves_nothing_behind(
        self, site: Site, gate: Gate
    ) -> None:
        client = await site.connect("42", "other")
        gate.close_after(0)
        await client.send("subscribe", channel="slow")
        await gate.reached.wait()
        assert subscription_tasks()
        client.send_at_once(UNSUBSCRIBE, SUBSCRIBE)
        await client.ping()
        await client.send("unsubscribe", channel="slow")
        await client.ping()
        gate.open()
        await client.subscribe("other")
        await client.subscribe("other")
        assert "slow" not in site.context.hub.fanouts
        await until(lambda: not subscription_tasks())

    async def test_going_away_meanwhile_leaves_nothing_behind(self, site: Site, gate: Gate) -> None:
        gate.close_after(0)
        for _ in range(3):
            client = await site.connect("42", "other")
            await client.send("subscribe", channel="slow")
            await client.ping()
            client.send_at_once(UNSUBSCRIBE, SUBSCRIBE)
            await client.ping()
            client.socket.transport.abort()
        await site.left_nothing()

    async def test_the_last_word_counts(self, site: Site) -> None:
        client = await site.connect("42", "other")
        client.send_at_once(SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE)
        assert (await client.expect("subscribed"))["channel"] == "slow"
        await site.fill("slow", [1])
        assert (await client.expect("event"))["data"] == 1


async def test_bytes_that_are_no_websocket_end_only_their_connection(site: Site) -> None:
    watcher = await site.watch()
    for nonsense in (b"\xff" * 100, b"\x81\x05hello", b"\x81\x82\0\0\0\0\xff\xfe", b"\x0f\x80"):
        client = await site.connect()
        await client.subscribe(CHANNEL)
        client.socket.transport.write(nonsense)
        for _ in range(50):
            await site.fill(CHANNEL, ["x" * 1_000])
            await watcher.notices_nothing()
        await until(lambda: len(site.context.registry.users) == 1)


async def test_send_after_disconnect_ends_without_an_error() -> None:
    """Uvicorn raises RuntimeError for a send after it has closed by itself."""
    bridge = make_bridge(dev=True)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise RuntimeError("Unexpected ASGI message 'websocket.send'")
        sent.append(message)

    arriving: asyncio.Queue[Any] = asyncio.Queue()
    arriving.put_nowait({"type": "websocket.connect"})
    scope = {
        "type": "websocket",
        "path": "/realtime/ws",
        "query_string": b"userId=42",
        "headers": [(b"host", b"localhost")],
    }
    async with bridge:
        await bridge(scope, arriving.get, send)
        assert not context_of(bridge).registry.users
    assert [message["type"] for message in sent] == ["websocket.accept"]


class TestHeartbeats:
    async def test_heartbeat_has_the_offset_fanned_out_to(self, serve: Serve) -> None:
        site = await serve(timing=ServerTiming(session=SessionTiming(heartbeat=0.02)))
        client = await site.connect()
        await client.subscribe(CHANNEL)
        assert (await client.expect("heartbeat"))["offsets"] == {}
        await site.fill(CHANNEL, [1, 2])
        beats: dict[str, int] = {}
        while not beats:
            beats = (await client.skip_to("heartbeat"))["offsets"]
        assert beats == {CHANNEL: 2}


async def test_errors_and_logs_hold_no_token(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "realtime_bridge")
    secret = Tokens("x" * 32, issuer="realtime").issue("42")
    client = await site.open()
    await client.send("connect", token=secret)
    _, error = await client.failed()
    assert secret not in error["message"] + caplog.text
