"""The client against a real server, through weather of every kind: everything once, in order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from realtime_bridge import ConfigurationError, Event
from realtime_bridge.client import ChannelReset, DeniedError, HybridClient, subscription_set
from realtime_bridge.client import websocket_transport as client_websocket
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client import machine, state, transitions
from realtime_bridge.protocol.session import session
from realtime_bridge.server.connections import websocket as server_websocket
from realtime_bridge.server.endpoints import connect
from realtime_bridge.testing import FaultyProxy
from realtime_bridge.testing.contracts.samples import numbered
from tests.client.servers import TIMEOUT, Client, Server, serving, token

CHANNEL = "user-ada"
SOCKETS = b"Upgrade: websocket"

every_way = pytest.mark.parametrize("way", ["websocket", "poll", "auto"])


def client(url: str, way: str = "auto", **options: Any) -> Client:
    channels = options.pop("channels", [CHANNEL])
    return Client(url, channels, **{"token": token(), "transport": way, **options})


async def publish(server: Server, count: int, *, start: int = 1, channel: str = CHANNEL) -> None:
    events = numbered(channel, count, start=start)
    for begin in range(0, count, 500):
        await server.bridge.publish_many(events[begin : begin + 500])


async def denied(listening: HybridClient) -> str:
    """Return why the server refuses the client for good."""
    with pytest.raises(DeniedError) as caught:
        async with asyncio.timeout(TIMEOUT), listening:
            await listening.subscribed()
    return str(caught.value)


@every_way
async def test_events_come_in_order_with_their_positions(
    server: Server, url: str, way: str
) -> None:
    async with client(url, way) as listening:
        start = await listening.begun()
        assert start.offset == 0
        await publish(server, 3)
        events = [item for item in await listening.take(3) if isinstance(item, Event)]
    assert [event.data["step"] for event in events] == [1, 2, 3]
    assert [event.position for event in events] == [Position(start.epoch, n) for n in (1, 2, 3)]


@every_way
async def test_what_was_published_while_it_was_cut_off_comes_afterwards(
    server: Server, proxy: FaultyProxy, url: str, way: str
) -> None:
    async with client(url, way) as listening:
        await listening.begun()
        await publish(server, 3)
        assert await listening.steps(3) == [1, 2, 3]
        proxy.refuse()
        proxy.drop()
        await proxy.until(lambda: proxy.refused >= 2)
        await publish(server, 700, start=4)
        proxy.heal()
        assert await listening.steps(700) == [*range(4, 704)]


@every_way
async def test_an_event_before_the_first_one_was_received_is_not_missed(
    server: Server, proxy: FaultyProxy, url: str, way: str
) -> None:
    async with client(url, way) as listening:
        await listening.begun()
        proxy.refuse()
        proxy.drop()
        await publish(server, 1)
        proxy.heal()
        assert await listening.steps(1) == [1]


async def test_it_polls_while_no_socket_can_be_opened_and_returns_to_it(
    server: Server, url: str
) -> None:
    server.refuses_sockets = True
    async with client(url) as listening:
        await listening.begun()
        await publish(server, 2)
        assert await listening.steps(2) == [1, 2]
        assert listening.lives.empty()
        server.refuses_sockets = False
        await listening.live()
        await publish(server, 2, start=3)
        assert await listening.steps(2) == [3, 4]


async def test_it_polls_while_the_socket_is_swallowed_and_returns_to_it(
    server: Server, proxy: FaultyProxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "OPEN_MS", 300)
    proxy.only = SOCKETS
    proxy.swallow("down")
    async with client(url) as listening:
        await listening.begun()
        await publish(server, 2)
        assert await listening.steps(2) == [1, 2]
        assert listening.lives.empty()
        proxy.heal()
        await listening.live()
        await publish(server, 2, start=3)
        assert await listening.steps(2) == [3, 4]


async def test_it_polls_when_the_socket_opens_but_nobody_says_welcome(
    server: Server, proxy: FaultyProxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PROBE_MS", 300)
    monkeypatch.setattr(transitions, "OPEN_MS", 300)
    proxy.only = SOCKETS
    proxy.swallow("up", after=400)
    async with client(url, token=token(channels=["x" * 400])) as listening:
        await listening.begun()
        await publish(server, 2)
        assert await listening.steps(2) == [1, 2]
        proxy.heal()
        await listening.live()


@pytest.mark.parametrize("fault", ["swallow", "half_open"])
async def test_a_live_socket_that_falls_silent_is_given_up(
    server: Server, proxy: FaultyProxy, url: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(session, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(state, "SILENCE_MS", 100)
    monkeypatch.setattr(state, "PING_MS", 100)
    proxy.only = SOCKETS
    async with client(url) as listening:
        await listening.live()
        getattr(proxy, fault)()
        await publish(server, 2)
        async with asyncio.timeout(5):  # not held up by a farewell that nobody answers
            assert await listening.steps(2) == [1, 2]
        proxy.heal()
        await listening.live()
        await publish(server, 2, start=3)
        assert await listening.steps(2) == [3, 4]


async def test_a_slow_first_connection_is_bridged_by_polling(
    server: Server, proxy: FaultyProxy, url: str
) -> None:
    proxy.delay(0.1)
    async with client(url) as listening:
        await listening.begun()
        await publish(server, 2)
        assert await listening.steps(2) == [1, 2]
        await listening.live()


async def test_nothing_is_polled_beside_a_live_socket(server: Server, url: str) -> None:
    async with client(url) as listening:
        await listening.live()
        assert not {"slow", "poll"} & set(listening._driver._machine.timers)
        await publish(server, 1)
        await listening.steps(1)
        assert server.asked["/realtime/poll"] == 0


@every_way
async def test_a_restarted_server_is_a_reset_and_then_goes_on(way: str) -> None:
    async with serving() as first:
        port = first.port
        async with client(f"http://127.0.0.1:{port}/realtime", way) as listening:
            start = await listening.begun()
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


@every_way
async def test_a_history_that_is_too_short_is_a_reset_and_never_a_hole(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_HISTORY_EVENTS", "10")
    async with (
        serving() as server,
        FaultyProxy(server.port) as proxy,
        client(f"{proxy.url}/realtime", way) as listening,
    ):
        start = await listening.begun()
        proxy.refuse()
        proxy.drop()
        await publish(server, 50)
        proxy.heal()
        here = Position(start.epoch, 50)
        assert await listening.next() == ChannelReset(CHANNEL, "truncated", here)
        await publish(server, 2, start=51)
        assert await listening.steps(2) == [51, 52]


@every_way
async def test_a_channel_of_somebody_else_is_denied(url: str, way: str) -> None:
    said = await denied(client(url, way, channels=["user-bob"]))
    assert "user-bob" in said


@every_way
async def test_one_channel_of_somebody_else_is_enough(url: str, way: str) -> None:
    assert "user-bob" in await denied(client(url, way, channels=[CHANNEL, "user-bob"]))


@every_way
async def test_a_name_that_no_channel_has_is_denied(url: str, way: str) -> None:
    assert "hannel" in await denied(client(url, way, channels=["no channel!"]))


@every_way
@pytest.mark.parametrize("bad", ["nonsense", token(seconds=-60), token() + "x"])
async def test_a_bad_token_is_denied(url: str, way: str, bad: str) -> None:
    said = await denied(client(url, way, token=bad))
    assert "token" in said
    assert bad not in said


@every_way
async def test_bad_tokens_without_end_are_denied(url: str, way: str) -> None:
    async def another() -> str:
        return token(seconds=-60)

    assert "expired" in await denied(client(url, way, token=another))


@every_way
async def test_an_expired_token_is_renewed(server: Server, url: str, way: str) -> None:
    tokens = iter([token(seconds=-60)])

    async def another() -> str:
        return next(tokens, token())

    async with client(url, way, token=another) as listening:
        await listening.begun()
        await publish(server, 1)
        assert await listening.steps(1) == [1]


@every_way
async def test_a_token_that_cannot_be_had_now_is_asked_for_again(
    server: Server, url: str, way: str
) -> None:
    failures: Sequence[Exception] = [ValueError("the site is down"), RuntimeError("still")]
    failing = iter(failures)

    async def flaky() -> str:
        for failure in failing:
            raise failure
        return token()

    async with client(url, way, token=flaky) as listening:
        await listening.begun()
        await publish(server, 1)
        assert await listening.steps(1) == [1]


@every_way
async def test_its_own_events_are_skipped(server: Server, url: str, way: str) -> None:
    async with client(url, way) as listening:
        start = await listening.begun()
        await server.bridge.publish(CHANNEL, "mine", {"step": 1}, source=listening.client)
        await publish(server, 1, start=2)
        assert await listening.steps(1) == [2]
        assert listening.positions == {CHANNEL: Position(start.epoch, 2)}


@every_way
async def test_another_client_goes_on_where_the_first_one_stopped(
    server: Server, url: str, way: str
) -> None:
    async with client(url, way) as first:
        await first.begun()
        await publish(server, 10)
        assert await first.steps(3) == [1, 2, 3]
        positions = first.positions
    async with client(url, way, channels=positions) as second:
        assert (await second.begun()).offset == 3
        assert await second.steps(7) == [*range(4, 11)]


@every_way
async def test_a_first_client_that_took_nothing_leaves_everything_to_the_next(
    server: Server, url: str, way: str
) -> None:
    async with client(url, way) as first:
        await first.begun()
        await publish(server, 5)
        await asyncio.wait_for(first._stream.arrived(), TIMEOUT)
        positions = first.positions
    async with client(url, way, channels=positions) as second:
        assert await second.steps(5) == [1, 2, 3, 4, 5]


async def test_two_channels_are_kept_apart(server: Server, url: str) -> None:
    both = token(channels=["job.*"])
    async with client(url, "websocket", channels=["job.1", "job.2"], token=both) as listening:
        await listening.begun()
        await listening.begun()
        await publish(server, 2, channel="job.1")
        await publish(server, 1, channel="job.2")
        events = [item for item in await listening.take(3) if isinstance(item, Event)]
        assert sorted((event.channel, event.data["step"]) for event in events) == [
            ("job.1", 1),
            ("job.1", 2),
            ("job.2", 1),
        ]
        assert {at.offset for at in listening.positions.values() if at} == {1, 2}


async def test_the_loss_of_the_last_event_is_noticed_by_the_heartbeat(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(
        server_websocket.WebSocketConnection, "deliver", lambda *_: True, raising=True
    )
    async with client(url, "websocket") as listening:
        await listening.begun()
        await publish(server, 1)
        assert await listening.steps(1) == [1]


async def test_a_handler_slower_than_the_probe_loses_nothing(
    server: Server, proxy: FaultyProxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_set, "WAITING", 10)
    monkeypatch.setattr(session, "HEARTBEAT_SECONDS", 0.05)
    for limit in ("PROBE_MS", "SILENCE_MS", "PING_MS"):
        monkeypatch.setattr(machine if limit == "PROBE_MS" else state, limit, 50)
    await publish(server, 400)
    beginning = Position((await server.bridge._engine.log.positions([CHANNEL]))[CHANNEL].epoch, 0)
    async with client(url, channels={CHANNEL: beginning}) as listening:
        await listening.begun()
        await asyncio.sleep(0.5)  # that is how slow the handler is
        connections = proxy.accepted
        assert await listening.steps(400) == [*range(1, 401)]
    assert proxy.accepted == connections


async def test_a_handler_that_gives_up_waiting_loses_nothing(server: Server, url: str) -> None:
    async with client(url) as listening:
        await listening.begun()
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


def _step(item: Event | ChannelReset) -> int:
    assert isinstance(item, Event)
    return int(item.data["step"])


async def test_polling_goes_on_until_nothing_is_missing(
    server: Server, proxy: FaultyProxy, url: str
) -> None:
    """A poll that was under way when the socket opened must not leave a recovery half done."""
    async with client(url, "poll") as listening:
        await listening.begun()
        proxy.refuse()
        proxy.drop()
        for start in (1, 501):
            await publish(server, 500, start=start)
        proxy.heal()
        assert await listening.steps(1_000) == [*range(1, 1_001)]


@pytest.mark.parametrize("address", ["", "nonsense", "ftp://example.com", "http://", "//x"])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(ConfigurationError, match="is an address like"):
        HybridClient(address, [CHANNEL], token="t")


@pytest.fixture
async def impostor() -> AsyncIterator[str]:
    """Serve what accepts sockets, and speaks another protocol."""
    from websockets.asyncio.server import ServerConnection, serve

    async def talk(socket: ServerConnection) -> None:
        hello = await socket.recv()
        nonce = hello.partition('"nonce":"')[2][:32] if isinstance(hello, str) else ""
        await socket.send(f'{{"type":"welcome","nonce":"{nonce}"}}')
        await socket.send('{"type":"subscribed"}')
        await socket.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def test_nonsense_from_a_server_is_a_failure_like_any_other(
    impostor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()
    monkeypatch.setattr(client_websocket._logger, "info", lambda *_: failed.set())
    async with client(impostor, "websocket") as listening:
        await asyncio.wait_for(failed.wait(), TIMEOUT)
        assert listening._running
        assert not listening._running.done()


@every_way
async def test_a_client_that_is_ended_begins_nothing_more(url: str, way: str) -> None:
    listening = client(url, way)
    async with listening:
        await listening.begun()
    for name in ("refresh", "tick", "online"):
        listening._driver.tell(name)
