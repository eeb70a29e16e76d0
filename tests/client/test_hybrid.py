"""Client against a real server with network faults: each event once, in order."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from realtime_bridge import ConfigurationError, Event
from realtime_bridge.client import ChannelDenied, ChannelReset, DeniedError, HybridClient
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.status import Status
from realtime_bridge.protocol.client.timing import Timing
from realtime_bridge.server import Bridge
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.server.http.request import Message, Receive, Scope, Send
from realtime_bridge.testing import FaultyProxy
from realtime_bridge.testing.contracts.samples import numbered
from tests.client.servers import (
    SECRET,
    TIMEOUT,
    TIMING,
    Client,
    Server,
    answers,
    refuse_websocket,
    serving,
    token,
)

CHANNEL = "user-ada"
SOCKETS = b"Upgrade: websocket"
ANOTHER = "another secret for tests of more than 32 bytes"

PINGING = replace(TIMING, silence_allowance=-9_900, ping_timeout=2_000)
"""Silence is allowed for 100 ms, so that the client pings between two heartbeats (10 s)."""

every_transport = pytest.mark.parametrize("transport", ["websocket", "sse", "poll", "auto"])


def client(url: str, transport: str = "auto", **options: Any) -> Client:
    channels = options.pop("channels", [CHANNEL])
    return Client(url, channels, **{"token": token(), "transport": transport, **options})


async def publish(server: Server, count: int, *, start: int = 1, channel: str = CHANNEL) -> None:
    events = numbered(channel, count, start=start)
    for begin in range(0, count, 500):
        await server.bridge.publish_many(events[begin : begin + 500])


async def denial(listening: HybridClient) -> str:
    """Return the reason for which the server denies the client."""
    with pytest.raises(DeniedError) as caught:
        async with asyncio.timeout(TIMEOUT), listening:
            await listening.wait_subscribed()
    return str(caught.value)


@every_transport
async def test_events_arrive_in_order_with_positions(
    server: Server, url: str, transport: str
) -> None:
    async with client(url, transport) as listening:
        start = await listening.started()
        assert start.offset == 0
        await publish(server, 3)
        events = [item for item in await listening.take(3) if isinstance(item, Event)]
    assert [event.data["step"] for event in events] == [1, 2, 3]
    assert [event.position for event in events] == [Position(start.epoch, n) for n in (1, 2, 3)]


@every_transport
async def test_events_during_an_outage_arrive_after_it(
    server: Server, proxy: FaultyProxy, url: str, transport: str
) -> None:
    async with client(url, transport) as listening:
        await listening.started()
        await publish(server, 3)
        assert await listening.steps(3) == [1, 2, 3]
        proxy.refuse()
        proxy.drop()
        await proxy.until(lambda: proxy.refused >= 2)
        await publish(server, 700, start=4)
        proxy.heal()
        assert await listening.steps(700) == [*range(4, 704)]


@every_transport
async def test_event_before_the_first_received_one_arrives(
    server: Server, proxy: FaultyProxy, url: str, transport: str
) -> None:
    async with client(url, transport) as listening:
        await listening.started()
        proxy.refuse()
        proxy.drop()
        await publish(server, 1)
        proxy.heal()
        assert await listening.steps(1) == [1]


@pytest.mark.parametrize("transport", ["auto", "websocket", "sse"])
async def test_client_polls_while_its_transport_is_refused(
    server: Server, url: str, transport: str
) -> None:
    refuse_stream = answers(404)

    async def refuse_streams(scope: Scope, receive: Receive, send: Send) -> None:
        is_stream = scope["path"].endswith("/sse")
        await (refuse_stream if is_stream else server.bridge)(scope, receive, send)

    server.websockets, server.http = refuse_websocket, refuse_streams
    async with client(url, transport) as listening:
        await listening.started()
        await publish(server, 2)
        assert await listening.steps(2) == [1, 2]
        assert listening.lives.empty()
        server.websockets = server.http = server.bridge
        await listening.live()
        await publish(server, 2, start=3)
        assert await listening.steps(2) == [3, 4]


async def test_client_polls_while_the_handshake_hangs(
    server: Server, proxy: FaultyProxy, url: str
) -> None:
    proxy.only = SOCKETS
    proxy.swallow("down")
    async with client(url, timing=replace(TIMING, open_timeout=300)) as listening:
        await listening.started()
        await publish(server, 2)
        assert await listening.steps(2) == [1, 2]
        assert listening.lives.empty()
        proxy.heal()
        await listening.live()
        await publish(server, 2, start=3)
        assert await listening.steps(2) == [3, 4]


async def test_client_polls_while_no_welcome_comes(
    server: Server, proxy: FaultyProxy, url: str
) -> None:
    timing = replace(TIMING, open_timeout=300, probe_timeout=300)
    proxy.only = SOCKETS
    proxy.swallow("up", after=400)
    async with client(url, token=token(channels=["x" * 400]), timing=timing) as listening:
        await listening.started()
        await publish(server, 2)
        assert await listening.steps(2) == [1, 2]
        proxy.heal()
        await listening.live()


@pytest.mark.parametrize("fault", ["swallow", "half_open"])
async def test_silent_socket_is_given_up(
    server: Server, proxy: FaultyProxy, url: str, fault: str
) -> None:
    proxy.only = SOCKETS
    async with client(url, timing=replace(PINGING, ping_timeout=300)) as listening:
        await listening.live()
        getattr(proxy, fault)()
        await publish(server, 2)
        async with asyncio.timeout(5):  # the close frame, which has no answer, delays nothing
            assert await listening.steps(2) == [1, 2]
        proxy.heal()
        await listening.live()
        await publish(server, 2, start=3)
        assert await listening.steps(2) == [3, 4]


async def test_client_polls_while_the_first_connection_is_slow(
    server: Server, proxy: FaultyProxy, url: str
) -> None:
    proxy.delay(0.1)
    async with client(url) as listening:
        await listening.started()
        await publish(server, 2)
        assert await listening.steps(2) == [1, 2]
        await listening.live()


async def test_client_does_not_poll_while_live(server: Server, url: str) -> None:
    async with client(url) as listening:
        await listening.live()
        await publish(server, 1)
        await listening.steps(1)
        await asyncio.sleep(0.5)  # much longer than the interval of polls
        assert server.requests["/realtime/poll"] == 0


@every_transport
async def test_server_restart_is_a_reset(transport: str) -> None:
    async with serving() as first:
        port = first.port
        async with client(f"http://127.0.0.1:{port}/realtime", transport) as listening:
            start = await listening.started()
            await publish(first, 2)
            assert await listening.steps(2) == [1, 2]
            await first.stop()
            async with serving(port=port) as second:
                reset = await listening.next()
                assert isinstance(reset, ChannelReset)
                assert (reset.channel, reset.reason) == (CHANNEL, "epoch")
                assert reset.position
                assert reset.position.epoch != start.epoch
                await publish(second, 2, start=3)
                assert await listening.steps(2) == [3, 4]


@every_transport
async def test_short_history_is_a_reset(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_HISTORY_EVENTS", "10")
    async with (
        serving() as server,
        FaultyProxy(server.port) as proxy,
        client(f"{proxy.url}/realtime", transport) as listening,
    ):
        start = await listening.started()
        proxy.refuse()
        proxy.drop()
        await publish(server, 50)
        proxy.heal()
        here = Position(start.epoch, 50)
        assert await listening.next() == ChannelReset(CHANNEL, "truncated", here)
        await publish(server, 2, start=51)
        assert await listening.steps(2) == [51, 52]


@every_transport
async def test_client_with_a_foreign_channel_alone_is_denied(url: str, transport: str) -> None:
    assert "user-bob" in await denial(client(url, transport, channels=["user-bob"]))


@every_transport
async def test_denied_channel_ends_alone(server: Server, url: str, transport: str) -> None:
    async with client(url, transport, channels=[CHANNEL, "user-bob"]) as listening:
        denied = await listening.next()
        assert denied == ChannelDenied("user-bob", listening.errors["user-bob"])
        outcomes = [await outcome(listening), await outcome(listening)]
        assert sorted(map(str, outcomes)) == [CHANNEL, f"user-bob: {listening.errors['user-bob']}"]
        await publish(server, 2)
        assert await listening.steps(2) == [1, 2]
        assert set(listening.errors) == {"user-bob"}


async def outcome(listening: HybridClient) -> str | DeniedError:
    """Return the next channel that is subscribed, or the error of one that is denied."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return (await listening.wait_subscribed())[0]
    except DeniedError as error:
        return error


@every_transport
async def test_revoked_channel_ends_alone(server: Server, url: str, transport: str) -> None:
    both = token(channels=["job.1", "job.2"])
    async with client(url, transport, channels=["job.1", "job.2"], token=both) as listening:
        await listening.started()
        await listening.started()
        await server.bridge.revoke(user="ada", channel="job.2")
        denied = await listening.next()
        assert denied == ChannelDenied("job.2", listening.errors["job.2"])
        await publish(server, 1, channel="job.1")
        assert await listening.steps(1) == [1]


@every_transport
async def test_failed_rule_delays_its_channel_alone(transport: str) -> None:
    failures = iter([RuntimeError("the database is down")])

    bridge = Bridge.from_env()

    @bridge.channel("job.{number}")
    def allow(user_id: str, number: str) -> bool:
        if number == "2":
            for failure in failures:
                raise failure
        return user_id == "ada"

    async with (
        serving(bridge) as server,
        client(
            f"http://127.0.0.1:{server.port}/realtime", transport, channels=["job.1", "job.2"]
        ) as listening,
    ):
        await listening.started()
        await listening.started()
        await publish(server, 1, channel="job.1")
        await publish(server, 1, channel="job.2")
        assert await listening.steps(2) == [1, 1]


@every_transport
async def test_invalid_channel_name_is_denied(url: str, transport: str) -> None:
    assert "hannel" in await denial(client(url, transport, channels=["no channel!"]))


@every_transport
@pytest.mark.parametrize("issuer", [None, "another"])
async def test_bad_token_is_denied(url: str, transport: str, issuer: str | None) -> None:
    # Signed here: a token that is signed when tests are collected has expired by now.
    bad = Tokens(SECRET, issuer=issuer).issue("ada") if issuer else "nonsense"
    reason = await denial(client(url, transport, token=bad))
    assert "token" in reason
    assert bad not in reason


@every_transport
@pytest.mark.parametrize(
    ("refused", "cause"),
    [
        (token(seconds=-60), "it has expired"),
        (Tokens(ANOTHER, issuer="realtime").issue("ada"), "it is signed with another secret"),
    ],
)
async def test_refused_token_is_retried_until_a_fresh_one(
    server: Server, url: str, transport: str, refused: str, cause: str
) -> None:
    tokens = [refused]

    async def current() -> str:
        return tokens[-1]

    timing = replace(TIMING, denial_patience=1)
    async with client(url, transport, token=current, timing=timing) as listening:
        while server.requests["/realtime/connect"] < 8:
            server.requested.clear()
            async with asyncio.timeout(TIMEOUT):
                await server.requested.wait()
        assert listening.status.kind != "error"
        assert listening.status.reason == f"the server refuses the token: {cause}"
        tokens.append(token())
        await listening.started()
        await publish(server, 1)
        assert await listening.steps(1) == [1]


@every_transport
async def test_expired_token_is_renewed(server: Server, url: str, transport: str) -> None:
    tokens = iter([token(seconds=-60)])

    async def another() -> str:
        return next(tokens, token())

    async with client(url, transport, token=another) as listening:
        await listening.started()
        await publish(server, 1)
        assert await listening.steps(1) == [1]


@every_transport
async def test_failing_token_function_is_called_again(
    server: Server, url: str, transport: str
) -> None:
    failures: Sequence[Exception] = [ValueError("the site is down"), RuntimeError("still")]
    failing = iter(failures)

    async def flaky() -> str:
        for failure in failing:
            raise failure
        return token()

    async with client(url, transport, token=flaky) as listening:
        await listening.started()
        await publish(server, 1)
        assert await listening.steps(1) == [1]


@every_transport
async def test_own_events_are_skipped(server: Server, url: str, transport: str) -> None:
    async with client(url, transport) as listening:
        start = await listening.started()
        await server.bridge.publish(CHANNEL, "mine", {"step": 1}, source=listening.client)
        await publish(server, 1, start=2)
        assert await listening.steps(1) == [2]
        assert listening.positions == {CHANNEL: Position(start.epoch, 2)}


@every_transport
async def test_second_client_resumes_after_the_first(
    server: Server, url: str, transport: str
) -> None:
    async with client(url, transport) as first:
        await first.started()
        await publish(server, 10)
        assert await first.steps(3) == [1, 2, 3]
        positions = first.positions
    async with client(url, transport, channels=positions) as second:
        assert (await second.started()).offset == 3
        assert await second.steps(7) == [*range(4, 11)]


@every_transport
async def test_events_that_were_not_taken_are_left_to_the_next_client(
    server: Server, proxy: FaultyProxy, url: str, transport: str
) -> None:
    async with client(url, transport) as first:
        await first.started()
        received = proxy.forwarded["down"]
        await publish(server, 5)
        await proxy.until(lambda: proxy.forwarded["down"] >= received + 500)
        positions = first.positions
    async with client(url, transport, channels=positions) as second:
        assert await second.steps(5) == [1, 2, 3, 4, 5]


async def test_two_channels_keep_their_own_positions(server: Server, url: str) -> None:
    both = token(channels=["job.*"])
    async with client(url, "websocket", channels=["job.1", "job.2"], token=both) as listening:
        await listening.started()
        await listening.started()
        await publish(server, 2, channel="job.1")
        await publish(server, 1, channel="job.2")
        events = [item for item in await listening.take(3) if isinstance(item, Event)]
        assert sorted((event.channel, event.data["step"]) for event in events) == [
            ("job.1", 1),
            ("job.1", 2),
            ("job.2", 1),
        ]
        assert {at.offset for at in listening.positions.values() if at} == {1, 2}


async def test_lost_last_event_is_fetched_after_a_heartbeat(server: Server, url: str) -> None:
    server.websockets = LosingBridge(server)
    async with client(url, "websocket") as listening:
        await listening.started()
        await publish(server, 1)
        assert await listening.steps(1) == [1]


class LosingBridge:
    """Bridge that loses pushed events; a heartbeat with the offset follows each loss."""

    def __init__(self, server: Server) -> None:
        self._bridge = server.bridge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def lossy_send(message: Message) -> None:
            text = message.get("text") or ""
            fields = json.loads(text) if text else {}
            if fields.get("type") == "event":
                offsets = {fields["channel"]: fields["offset"]}
                message = {**message, "text": json.dumps({"type": "heartbeat", "offsets": offsets})}
            await send(message)

        await self._bridge(scope, receive, lossy_send)


async def test_slow_handler_keeps_the_connection(
    server: Server, proxy: FaultyProxy, url: str
) -> None:
    async with client(url) as first:
        start = await first.started()
    await publish(server, 400)
    async with client(url, channels={CHANNEL: start}, timing=PINGING) as listening:
        await listening.live()
        await asyncio.sleep(0.5)  # the handler's time for one event
        connections = proxy.accepted
        assert await listening.steps(400) == [*range(1, 401)]
    assert proxy.accepted == connections


async def test_handler_that_stops_waiting_loses_nothing(server: Server, url: str) -> None:
    async with client(url) as listening:
        await listening.started()
        taken: list[int] = []
        publishing = asyncio.create_task(_publish_slowly(server, 200))
        while len(taken) < 200:
            waiting = asyncio.ensure_future(anext(aiter(listening)))
            await asyncio.wait({waiting}, timeout=0.0005)
            waiting.cancel()
            await asyncio.wait({waiting})
            if not waiting.cancelled():
                taken.append(_step(waiting.result()))
        await publishing
    assert taken == [*range(1, 201)]


async def _publish_slowly(server: Server, count: int) -> None:
    for number in range(1, count + 1):
        await publish(server, 1, start=number)
        await asyncio.sleep(0.001)


def _step(item: Event | ChannelReset | ChannelDenied) -> int:
    assert isinstance(item, Event)
    return int(item.data["step"])


async def test_long_recovery_by_polls_is_complete(
    server: Server, proxy: FaultyProxy, url: str
) -> None:
    async with client(url, "poll") as listening:
        await listening.started()
        proxy.refuse()
        proxy.drop()
        for start in (1, 501):
            await publish(server, 500, start=start)
        proxy.heal()
        assert await listening.steps(1_000) == [*range(1, 1_001)]


@pytest.mark.parametrize("address", ["", "nonsense", "ftp://example.com", "http://", "//x"])
def test_invalid_url_is_refused_at_once(address: str) -> None:
    with pytest.raises(ConfigurationError, match="is an address like"):
        HybridClient(address, [CHANNEL], token="t")


async def test_invalid_messages_lead_to_another_attempt(server: Server, url: str) -> None:
    impostor = Impostor()
    server.websockets = impostor
    async with client(url) as listening:
        async with asyncio.timeout(TIMEOUT):
            await impostor.returned.wait()
        server.websockets = server.bridge
        await listening.live()
        await publish(server, 1)
        assert await listening.steps(1) == [1]


class Impostor:
    """Application that accepts WebSockets, and sends an event without a channel."""

    def __init__(self) -> None:
        self.returned = asyncio.Event()
        """Set when a client has connected twice."""
        self._connections = 0

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        self._connections += 1
        if self._connections > 1:
            self.returned.set()
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "realtime.v1"})
        nonce = json.loads((await receive())["text"])["nonce"]
        for message in ({"type": "welcome", "nonce": nonce}, {"type": "event"}):
            await send({"type": "websocket.send", "text": json.dumps(message)})
        while (await receive())["type"] != "websocket.disconnect":
            pass


@every_transport
async def test_ended_client_sends_nothing_more(server: Server, url: str, transport: str) -> None:
    async with client(url, transport) as listening:
        await listening.started()
    requests = server.requests.copy()
    await asyncio.sleep(0.3)
    assert server.requests == requests


async def test_status_becomes_offline_without_any_input() -> None:
    kinds: list[str] = []
    offline = asyncio.Event()

    def note(status: Status) -> None:
        kinds.append(status.kind)
        if status.kind == "offline":
            offline.set()

    timing = Timing(starting_period=20, offline_after=60, status_interval=10)
    waiting = asyncio.Event()

    async def token_without_end() -> str:
        await waiting.wait()
        return ""

    async with HybridClient(
        "http://127.0.0.1:1/realtime",
        [CHANNEL],
        token=token_without_end,
        on_status=note,
        timing=timing,
    ):
        await asyncio.wait_for(offline.wait(), TIMEOUT)
    assert kinds == ["starting", "connecting", "offline"]


@every_transport
async def test_channels_beyond_the_limit_of_a_connection_are_current(
    server: Server, url: str, transport: str
) -> None:
    channels = [f"job.{number}" for number in range(450)]
    access = token(channels=["job.*"])
    async with client(url, transport, channels=channels, token=access) as listening:
        for _ in channels:
            await listening.started()
        for number, channel in enumerate(channels):
            await publish(server, 1, start=number, channel=channel)
        items = await listening.take(450)
        assert {item.channel for item in items} == set(channels)
        assert all(isinstance(item, Event) for item in items)
        if transport != "poll":
            assert listening.status.kind == "polling"
            assert listening.status.reason == (
                "50 channels are polled: this connection does not carry them"
            )
