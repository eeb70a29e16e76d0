"""Tests of streams over HTTP: resumption, gaps, limits, and stopping."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse
from msgspec.structs import replace

from realtime_bridge import Event
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.streams.answer import RESTARTED
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.harness import TIMEOUT, Frame, Serve, Site, until

CHANNEL = "chat.1"
OWNED: dict[str, Any] = {"channel": CHANNEL, "key": "stream-m1"}


class Reader:
    """Open response, read event by event."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.last_id = ""

    async def line(self) -> str:
        async with asyncio.timeout(TIMEOUT):
            return (await self.response.content.readline()).decode()

    async def next(self) -> tuple[str, Any]:
        """Return the name and the data of the next event; `over` at the end of the response."""
        name = "message"
        while line := await self.line():
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                self.last_id = value
            elif field == "data":
                return name, value if value == "[DONE]" else orjson.loads(value)
        return "over", None

    async def names(self, count: int) -> list[str]:
        return [(await self.next())[0] for _ in range(count)]

    async def rest(self) -> list[tuple[str, Any]]:
        events = []
        while (event := await self.next())[0] != "over":
            events.append(event)
        return events


@asynccontextmanager
async def reading(
    site: Site, *, user: str = "42", headers: Frame | None = None, **query: str
) -> AsyncIterator[Reader]:
    bearer = {"authorization": f"Bearer {site.token(user)}"}
    async with site.http.get(
        f"{site.url}/stream",
        params={"channel": CHANNEL, "id": "m1", **query},
        headers=bearer | (headers or {}),
    ) as response:
        yield Reader(response)


async def stop(site: Site, *, user: str = "42", **fields: Any) -> tuple[int, Frame]:
    token = site.tokens.issue(user, controls=["chat.*"])
    body = {"channel": CHANNEL, "stream": "m1", **fields}
    return await site.post("stream/stop", body, authorization=f"Bearer {token}")


async def begin(site: Site, *items: str, attempt: str = "A", form: str = "text") -> None:
    """Take the stream over, and append its first items."""
    data = {"stream": "m1", "format": form, "meta": None}
    take: dict[str, Any] = {"attempt": attempt, "take": "always", "lease": 30}
    will = {"event": "stream.ended", "data": {"state": "lost"}}
    start = Event(**OWNED, event="stream.started", data=data, will=will, **take)
    await site.bridge.publish_many([start])
    await add(site, *items, attempt=attempt)


async def add(site: Site, *items: Any, attempt: str = "A") -> None:
    fields: dict[str, Any] = {"event": "stream.part", "fold": "append", "attempt": attempt}
    parts = [Event(**OWNED, data=[item], **fields) for item in items]
    if parts:
        await site.bridge.publish_many(parts)


async def end(site: Site, state: str = "completed", attempt: str = "A") -> None:
    fields: dict[str, Any] = {"event": "stream.ended", "fold": "end", "attempt": attempt}
    await site.bridge.publish_many([Event(**OWNED, data={"state": state, "error": None}, **fields)])


async def test_reader_gets_the_items_so_far_then_each_part(site: Site) -> None:
    await begin(site, "a", "b")
    async with reading(site) as reader:
        assert reader.response.headers["content-type"] == "text/event-stream"
        assert reader.response.headers["cache-control"] == "no-store, no-transform"
        assert (await reader.next())[0] == "start"
        assert await reader.next() == ("part", ["a", "b"])
        await site.bridge.publish(CHANNEL, "other.event", ["not of the stream"], key="stream-m2")
        await add(site, "c")
        assert await reader.next() == ("part", ["c"])
        await end(site)
        assert await reader.rest() == [("end", {"state": "completed", "error": None, "by": None})]


async def test_reader_waits_for_a_stream_that_has_not_started(site: Site) -> None:
    async with reading(site) as reader:
        assert reader.response.status == 200
        async with site.bridge.stream(CHANNEL, id="m1", format="json", meta=7) as stream:
            stream.append({"n": 1})
        (_, start), *rest = await reader.rest()
        assert (start["format"], start["meta"], start["attempt"]) == ("json", 7, stream.attempt)
        assert [name for name, _ in rest] == ["part", "end"]


async def test_reader_resumes_after_the_last_event_id(site: Site) -> None:
    await begin(site, "a", "b")
    async with reading(site) as reader:
        await reader.names(2)
    await add(site, "c")
    async with reading(site, headers={"last-event-id": reader.last_id}) as again:
        assert await again.next() == ("part", ["c"])
        await end(site)
        assert (await again.next())[0] == "end"
        assert await again.next() == ("over", None)
    async with reading(site, last_event_id=again.last_id) as last:
        assert last.response.status == 204


async def test_reader_of_another_epoch_begins_again(site: Site) -> None:
    await begin(site, "a")
    async with reading(site, headers={"last-event-id": "zzzzzzzz:2"}) as reader:
        assert await reader.names(2) == ["start", "part"]


async def test_reset_and_new_attempt_begin_again(site: Site) -> None:
    await begin(site, "a")
    async with reading(site) as reader:
        assert await reader.names(2) == ["start", "part"]
        await begin(site, "new", attempt="B")
        assert (await reader.next())[1]["attempt"] == "B"
        assert await reader.next() == ("part", ["new"])
        top = await site.bridge.position(CHANNEL)
        await site.context.pipeline.log.rotate_epoch(CHANNEL, top.epoch)
        await add(site, "c", attempt="B")
        assert (await reader.next())[0] == "start"
        assert await reader.next() == ("part", ["new", "c"])
        await add(site, "d", attempt="B")
        assert await reader.next() == ("part", ["d"])


async def test_silent_writer_is_lost_and_comes_back(serve: Serve) -> None:
    now = 0.0
    log = MemoryBackend(clock=lambda: now)
    site = await serve(with_log=log)
    await begin(site, "a")
    async with reading(site) as reader, reading(site, format="ui-message") as answer:
        assert await reader.names(2) == ["start", "part"]
        now = 31.0
        await log.positions([CHANNEL])
        assert await reader.next() == ("lost", {"state": "lost"})
        await add(site, "b")
        assert await reader.next() == ("part", ["b"])
        chunks = await answer.rest()
        assert [chunks[-2][1]["type"], chunks[-1][1]] == ["error", "[DONE]"]


@pytest.mark.parametrize(("form", "last"), [("ui-message", "[DONE]"), ("ag-ui", None)])
async def test_answer_that_begins_again_ends_with_an_error(
    site: Site, form: str, last: str | None
) -> None:
    await begin(site, "old")
    async with reading(site, format=form) as reader:
        await reader.names(3)
        await begin(site, "new", attempt="B")
        *_, error = [data for _, data in await reader.rest() if data != last]
        assert RESTARTED in error.values()


async def test_answer_goes_on_after_a_reset_without_a_repetition(site: Site) -> None:
    await begin(site, "a", "b")
    async with reading(site, format="ui-message") as reader:
        assert reader.response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        await reader.names(3)
        top = await site.bridge.position(CHANNEL)
        await site.context.pipeline.log.rotate_epoch(CHANNEL, top.epoch)
        await add(site, "c")
        await end(site)
        chunks = [data for _, data in await reader.rest()]
        assert [chunk["delta"] for chunk in chunks if "delta" in chunk] == ["c"]
        assert chunks[-2:] == [{"type": "finish"}, "[DONE]"]


async def test_answer_that_is_unknown_or_past_is_empty(site: Site) -> None:
    for form in ("ui-message", "ag-ui"):
        async with reading(site, format=form) as reader:
            assert reader.response.status == 204
    await begin(site, "a")
    await end(site)
    log: Any = site.context.pipeline.log
    page = await log.latest(CHANNEL, key="stream-m1")
    async with reading(site, format="ag-ui") as reader:
        assert len(await reader.rest()) == 5

    async def an_hour_ago(*_: Any, **__: Any) -> Any:
        events = tuple(replace(event, time=event.time - 3_600_000) for event in page.events)
        return replace(page, events=events)

    log.latest = an_hour_ago
    async with reading(site, format="ui-message") as reader:
        assert reader.response.status == 204
    async with reading(site) as reader:
        assert len(await reader.rest()) == 3


async def test_json_has_the_state_as_of_one_position(site: Site) -> None:
    await begin(site, "a", "b")
    async with reading(site, format="json") as reader:
        state = await reader.response.json()
    top = await site.bridge.position(CHANNEL)
    assert state == {
        "stream": "m1",
        "attempt": "A",
        "format": "text",
        "state": "open",
        "error": None,
        "items": ["a", "b"],
        "meta": None,
        "trimmed": False,
        "position": top.to_json(),
    }


async def test_quiet_stream_has_comments(serve: Serve) -> None:
    site = await serve(timing=ServerTiming(session=SessionTiming(heartbeat=0.02)))
    async with reading(site) as reader:
        lines = [await reader.line() for _ in range(6)]
    assert lines == ["retry: 3000\n", "\n", ":\n", "\n", ":\n", "\n"]


async def test_readers_share_one_subscription_and_use_connections(serve: Serve) -> None:
    site = await serve(limit_connections_per_user=2)
    await begin(site, "a")
    async with reading(site) as one, reading(site) as two:
        for reader in (one, two):
            await reader.names(2)
        assert len(site.context.hub.fanouts[CHANNEL].subscribers) == 2
        assert site.context.registry.transports()["stream"] == 2
        async with reading(site) as third:
            assert third.response.status == 429
            assert (await third.response.json())["error"]["code"] == "too_many_connections"
        async with reading(site, format="json") as state:
            assert state.response.status == 200
    await until(lambda: not site.context.registry.users)


async def test_head_has_no_body_and_holds_no_connection(site: Site) -> None:
    bearer = {"authorization": f"Bearer {site.token()}"}
    url = f"{site.url}/stream?channel={CHANNEL}&id=m1"
    async with site.http.head(url, headers=bearer) as response:
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    await until(lambda: not site.context.registry.users)


async def drain(site: Site) -> None:
    site.context.registry.close()


async def revoke_user(site: Site) -> None:
    await site.bridge.revoke(user="42")


async def revoke_channel(site: Site) -> None:
    await site.bridge.revoke(channel=CHANNEL)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (drain, "the server restarts"),
        (revoke_user, "access was revoked"),
        (revoke_channel, "access was revoked"),
    ],
)
async def test_server_ends_readers_and_an_answer_with_the_reason(
    site: Site, act: Callable[[Site], Awaitable[None]], reason: str
) -> None:
    await begin(site, "a")
    async with reading(site) as events, reading(site, format="ui-message") as answer:
        assert await events.names(2) == ["start", "part"]
        await answer.names(3)
        async with reading(site, user="other") as other:
            await other.names(2)
            await act(site)
            assert await events.rest() == []
            assert await answer.rest() == [
                ("message", {"type": "error", "errorText": reason}),
                ("message", "[DONE]"),
            ]
            if act is revoke_user:
                await add(site, "b")
                assert await other.next() == ("part", ["b"])


async def test_reader_ends_with_its_token(serve: Serve) -> None:
    site = await serve(timing=ServerTiming(session=SessionTiming(token_skew=-599.9)))
    await begin(site, "a")
    async with reading(site) as reader:
        assert [name for name, _ in await reader.rest()] == ["start", "part"]


async def test_slow_reader_gets_each_item_once(serve: Serve) -> None:
    site = await serve(limit_unsent_bytes=16 * 1024, send_buffer=8 * 1024)
    await begin(site)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    narrow.connect(("127.0.0.1", int(site.origin.rpartition(":")[2])))
    received, writer = await asyncio.open_connection(sock=narrow, limit=4_096)
    head = f"GET {site.path}/stream?channel={CHANNEL}&id=m1 HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    writer.write(f"{head}connection: close\r\nrealtime-token: {site.token()}\r\n\r\n".encode())
    await until(lambda: site.context.hub.fanouts.get(CHANNEL))
    count = 0
    while not site.context.connections.statistics.slow_clients:
        await add(site, f"{count} {'x' * 4_000}")
        await asyncio.sleep(0.001)  # the event loop writes to the socket
        count += 1
        assert count < 250, "the stream is full, and no reader was slow"
    await add(site, f"{count} last")
    await end(site)
    async with asyncio.timeout(TIMEOUT):
        body = await received.read(-1)
    writer.close()
    assert re.findall(rb'"(\d+) ', body) == [str(n).encode() for n in range(count + 1)]


async def test_stop_ends_the_stream_in_the_name_of_the_user(site: Site) -> None:
    async with site.bridge.stream(CHANNEL, id="m1") as stream, reading(site) as reader:
        stream.append("a")
        assert await reader.names(2) == ["start", "part"]
        assert await stop(site, by="another user") == (200, {"state": "stopped"})
        ended = ("end", {"state": "stopped", "error": None, "by": "42"})
        assert await reader.rest() == [ended]
        while stream.state == "open":
            await stream.write(["more"])
    status, answer = await stop(site)
    assert (status, answer["error"]["code"], answer["error"]["state"]) == (409, "ended", "stopped")


async def test_late_stop_spares_a_newer_attempt(site: Site) -> None:
    await begin(site, attempt="B")
    status, answer = await stop(site, attempt="A")
    assert (status, answer["error"]["code"], answer["error"]["state"]) == (
        *(409, "superseded", "open"),
    )
    assert await stop(site, attempt="B") == (200, {"state": "stopped"})


async def test_page_of_a_listed_origin_may_read(serve: Serve) -> None:
    site = await serve(origins=("https://app.example",))
    await begin(site, "a")
    origin = {"origin": "https://app.example"}
    async with reading(site, headers=origin) as reader:
        assert reader.response.headers["access-control-allow-origin"] == origin["origin"]
        assert await reader.names(2) == ["start", "part"]
    async with reading(site, headers={"origin": "https://evil.example"}) as reader:
        assert (await reader.response.json())["error"]["code"] == "bad_origin"
