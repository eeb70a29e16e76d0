"""Readers of streams: a real worker and server, with network faults and lossy providers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from realtime_bridge import Broadcaster, ConfigurationError
from realtime_bridge.client import DeniedError, StreamReader, StreamRestarted, open_stream
from realtime_bridge.publishing.stream import AsyncStream
from realtime_bridge.server.http.request import Message, Receive, Scope, Send
from realtime_bridge.testing import FaultyProxy
from realtime_bridge.testing.providers import LocalAbly, LocalPusher
from tests.client.servers import TIMEOUT, TIMING, Client, Server, answers, serving, token

CHANNEL = "user-ada"
SOCKETS = b"Upgrade: websocket"

every_transport = pytest.mark.parametrize("transport", ["websocket", "sse", "poll"])


@pytest.fixture
async def broadcaster(server: Server) -> AsyncIterator[Broadcaster]:
    """Return the broadcaster of a worker, which uses the log of the server in this process."""
    async with Broadcaster.from_env() as broadcaster:
        yield broadcaster


def client(url: str, transport: str = "auto", **options: Any) -> Client:
    return Client(url, [CHANNEL], token=token(), transport=transport, **options)


def reader(url: str, transport: str = "auto", **options: Any) -> StreamReader:
    return StreamReader(client(url, transport), CHANNEL, "m1", **options)


async def take(stream: StreamReader, count: int) -> list[Any]:
    async with asyncio.timeout(TIMEOUT):
        return [await anext(stream) for _ in range(count)]


async def rest(stream: StreamReader) -> list[Any]:
    async with asyncio.timeout(TIMEOUT):
        return [item async for item in stream]


async def append(stream: AsyncStream, *items: str) -> None:
    """Append items, and wait until the log has them."""
    count = len(stream.items) + len(items)
    for item in items:
        stream.append(item)
    async with asyncio.timeout(TIMEOUT):
        while len(stream.items) < count:  # noqa: ASYNC110 -- the stream sets no event
            await asyncio.sleep(0)


@every_transport
async def test_stream_is_whole_through_a_drop_and_for_a_late_reader(
    url: str, proxy: FaultyProxy, broadcaster: Broadcaster, transport: str
) -> None:
    first, late = reader(url, transport), reader(url, transport)
    async with broadcaster.stream(CHANNEL, id="m1", pace=0) as stream, first:
        await append(stream, "a", "b")
        assert await take(first, 2) == ["a", "b"]
        proxy.drop()
        await append(stream, "c", "d")
        assert await take(first, 2) == ["c", "d"]
        async with late:
            assert await take(late, 4) == ["a", "b", "c", "d"]
            await append(stream, "e")
            assert await take(late, 1) == await take(first, 1) == ["e"]
    async with reader(url, transport) as ended:
        assert await rest(ended) == ["a", "b", "c", "d", "e"]
        assert (ended.snapshot.state, ended.snapshot.text) == ("completed", "abcde")


async def test_stream_goes_on_by_polls_and_back(
    url: str, proxy: FaultyProxy, broadcaster: Broadcaster
) -> None:
    watched = client(url)
    async with (
        broadcaster.stream(CHANNEL, id="m1", pace=0) as stream,
        StreamReader(watched, CHANNEL, "m1") as read,
    ):
        await watched.live()
        await append(stream, "a")
        assert await take(read, 1) == ["a"]
        proxy.only = SOCKETS
        proxy.refuse()
        proxy.drop()
        await append(stream, "b")
        assert await take(read, 1) == ["b"]
        assert watched.status.kind != "realtime"
        proxy.heal()
        await watched.live()
        await append(stream, "c")
        assert await take(read, 1) == ["c"]


async def test_reader_waits_for_a_stream_that_has_not_begun(
    url: str, broadcaster: Broadcaster
) -> None:
    async with reader(url) as read:
        waiting = asyncio.create_task(take(read, 1))
        async with broadcaster.stream(CHANNEL, id="other") as other:
            other.append("another stream")
        await broadcaster.publish(CHANNEL, "job.step", {})
        async with broadcaster.stream(CHANNEL, id="m1") as stream:
            stream.append("first")
        assert await waiting == ["first"]
        assert await rest(read) == []


async def test_cancelled_wait_loses_no_item(url: str, broadcaster: Broadcaster) -> None:
    async with broadcaster.stream(CHANNEL, id="m1", pace=0) as stream, reader(url) as read:
        await append(stream, "a")
        assert await take(read, 1) == ["a"]
        waiting = asyncio.create_task(anext(read))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await append(stream, "b")
        assert await take(read, 1) == ["b"]


async def test_another_run_raises_then_begins_again(url: str, broadcaster: Broadcaster) -> None:
    async with reader(url) as read, reader(url, restarts=True) as both:
        async with broadcaster.stream(CHANNEL, id="m1", pace=0) as first:
            await append(first, "old")
            assert await take(read, 1) == await take(both, 1) == ["old"]
        async with broadcaster.stream(CHANNEL, id="m1", pace=0) as second:
            await append(second, "new")
        # The first run had completed, which is the end for a reader that saw it.
        async with reader(url) as late:
            assert await rest(late) == ["new"]
        assert await rest(read) == await rest(both) == []


async def test_run_that_takes_over_raises_then_begins_again(
    url: str, broadcaster: Broadcaster
) -> None:
    async with reader(url) as read, reader(url, restarts=True) as both:
        taken_over = broadcaster.stream(CHANNEL, id="m1", pace=0)
        await taken_over.__aenter__()
        await append(taken_over, "old")
        assert await take(read, 1) == await take(both, 1) == ["old"]
        async with broadcaster.stream(CHANNEL, id="m1", pace=0) as second:
            await append(second, "new")
        await taken_over.__aexit__(None, None, None)
        with pytest.raises(StreamRestarted):
            await take(read, 1)
        assert await rest(read) == await rest(both) == ["new"]
        assert read.snapshot.attempt == second.attempt


async def test_failed_stream_ends_with_its_error(url: str, broadcaster: Broadcaster) -> None:
    async def fail() -> None:
        async with broadcaster.stream(CHANNEL, id="m1") as stream:
            stream.append("begun")
            raise ZeroDivisionError("the model divided by zero")

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with open_stream(url, CHANNEL, "m1", token=token()) as read:
        assert await rest(read) == ["begun"]
        assert (read.snapshot.state, read.snapshot.error) == ("failed", "the model divided by zero")


async def test_reader_behind_the_history_loads_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REALTIME_HISTORY_EVENTS", "3")
    async with serving() as server, FaultyProxy(server.port) as proxy:
        url = f"{proxy.url}/realtime"
        async with (
            Broadcaster.from_env() as broadcaster,
            broadcaster.stream(CHANNEL, id="m1", pace=0) as stream,
            reader(url) as read,
        ):
            await append(stream, "a")
            assert await take(read, 1) == ["a"]
            proxy.refuse()
            proxy.drop()
            for item in "bcdefgh":
                await append(stream, item)
            proxy.heal()
            assert await take(read, 7) == [*"bcdefgh"]


async def test_denied_channel_raises(url: str) -> None:
    async with open_stream(url, "user-eve", "m1", token=token()) as read:
        with pytest.raises(DeniedError, match="user-eve"):
            await take(read, 1)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "no_log", ConfigurationError),
        (501, "no_owners", ConfigurationError),
        (403, "forbidden", DeniedError),
    ],
)
async def test_final_refusal_of_the_state_raises(
    server: Server, status: int, code: str, error: type[Exception]
) -> None:
    refusal = orjson.dumps({"error": {"code": code, "message": "the server's words"}})
    refuse = answers(status, refusal, **{"content-type": "application/json"})

    async def refuse_state(scope: Scope, receive: Receive, send: Send) -> None:
        is_state = scope["path"].endswith("/latest")
        await (refuse if is_state else server.bridge)(scope, receive, send)

    server.http = refuse_state
    async with reader(f"http://127.0.0.1:{server.port}/realtime") as read:
        with pytest.raises(error, match="the server's words"):
            await take(read, 1)


async def test_server_without_the_route_raises(server: Server) -> None:
    async def hide_route(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_changed(message: Message) -> None:
            body = message.get("body", b"").replace(b'"latest":"latest"', b'"latest":null    ')
            await send({**message, "body": body} if "body" in message else message)

        await server.bridge(scope, receive, send_changed)

    server.http = hide_route
    async with reader(f"http://127.0.0.1:{server.port}/realtime") as read:
        with pytest.raises(ConfigurationError, match="does not offer latest"):
            await take(read, 1)


async def test_token_that_is_missing_for_a_while_delays_the_load(
    server: Server, broadcaster: Broadcaster
) -> None:
    failures = iter([True, True])

    async def fetch_token() -> str:
        if next(failures, False):
            raise LookupError("no session yet")
        return token()

    async with broadcaster.stream(CHANNEL, id="m1") as stream:
        stream.append("there")
    polling = Client(
        f"http://127.0.0.1:{server.port}/realtime", [CHANNEL], token=fetch_token, transport="poll"
    )
    async with StreamReader(polling, CHANNEL, "m1") as read:
        assert await rest(read) == ["there"]


@pytest.mark.parametrize(
    "answer",
    [answers(502), answers(200, b'{"events": 1}', **{"content-type": "application/json"})],
    ids=["a proxy's page", "an answer without a position"],
)
async def test_failed_load_is_repeated(
    server: Server, broadcaster: Broadcaster, answer: Any
) -> None:
    bridge, failures = server.bridge, iter([True, False])

    async def fail_once(scope: Scope, receive: Receive, send: Send) -> None:
        fails = scope["path"].endswith("/latest") and next(failures, False)
        await (answer if fails else bridge)(scope, receive, send)

    server.http = fail_once
    async with broadcaster.stream(CHANNEL, id="m1") as stream:
        stream.append("there")
    async with reader(f"http://127.0.0.1:{server.port}/realtime") as read:
        assert await rest(read) == ["there"]


@asynccontextmanager
async def delivered_by(
    provider: type[LocalAbly | LocalPusher], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Server, LocalAbly | LocalPusher]]:
    async with provider() as local:
        for name, value in local.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("REALTIME_LOG", "memory")
        async with serving() as server:
            yield server, local


@pytest.mark.parametrize("provider", [LocalAbly, LocalPusher])
async def test_stream_through_a_lossy_provider_is_whole(
    monkeypatch: pytest.MonkeyPatch, provider: type[LocalAbly | LocalPusher]
) -> None:
    timing = replace(TIMING, position_check_interval=500, late_event_allowance=100)
    async with delivered_by(provider, monkeypatch) as (server, local):
        url = f"http://127.0.0.1:{server.port}/realtime"
        watched = client(url, timing=timing)
        async with (
            Broadcaster.from_env() as broadcaster,
            StreamReader(watched, CHANNEL, "m1") as read,
        ):
            await watched.live()
            local.faults.lose, local.faults.reorder = 0.05, 0.1
            async with broadcaster.stream(CHANNEL, id="m1", pace=0) as stream:
                for number in range(80):
                    await append(stream, f"{number} ")
                assert await take(read, 80) == stream.items
            assert await rest(read) == []
            assert server.requests["/realtime/ws"] == 0
