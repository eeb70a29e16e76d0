"""Tests of what a reader of a stream may cost: pieces, memory and tasks."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from realtime_bridge.model.page import Page
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.server.http.request import Message
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.harness import TIMEOUT, Serve, Site, until

CHANNEL = "chat.1"
IMPATIENT = ServerTiming(session=SessionTiming(stalled=0.05), close=0.05)


async def call(
    site: Site,
    route: str,
    query: str,
    send: Callable[[Message], Awaitable[None]],
    body: bytes | None = None,
    *,
    seconds: float = 600,
) -> None:
    """Call the bridge as an ASGI server does, for a client that never disconnects."""
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET" if body is None else "POST",
        "path": f"{site.path}/{route}",
        "query_string": query.encode(),
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"application/json"),
            (b"realtime-token", site.token(seconds=seconds).encode()),
        ],
    }

    requests: list[Message] = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def receive() -> Message:
        if not requests:
            await asyncio.Event().wait()
        return requests.pop()

    async with asyncio.timeout(TIMEOUT):
        await site.bridge(scope, receive, send)


async def take_nothing(message: Message) -> None:
    if message["type"] == "http.response.body":
        await asyncio.Event().wait()


@pytest.mark.parametrize("form", ["events", "ui-message"])
async def test_stalled_reader_leaves_no_task(serve: Serve, form: str) -> None:
    site = await serve(timing=IMPATIENT)
    async with site.bridge.stream(CHANNEL, id="m1") as stream:
        stream.append("a")
        await until(lambda: stream.items)
        await call(site, "stream", f"channel={CHANNEL}&id=m1&format={form}", take_nothing)
    await site.left_nothing()


async def test_reader_that_takes_no_end_leaves_no_task(serve: Serve) -> None:
    session = SessionTiming(token_skew=0.0)
    site = await serve(timing=ServerTiming(session=session, close=0.05))

    async def take_all_but_the_end(message: Message) -> None:
        assert message.get("status", 200) == 200
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await asyncio.Event().wait()

    body = b'{"positions": {"chat.1": null}}'
    await call(site, "sse", "", take_all_but_the_end, body, seconds=1.01)
    await site.left_nothing()


async def test_long_state_is_sent_in_pieces_and_not_kept(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[Page] = []
    pieces: list[int] = []
    latest = MemoryBackend.latest

    async def note(self: MemoryBackend, *args: Any, **options: Any) -> Page:
        pages.append(await latest(self, *args, **options))
        return pages[-1]

    async def send(message: Message) -> None:
        pieces.append(len(message.get("body", b"")))

    async with site.bridge.stream(CHANNEL, id="m1") as stream:
        for _ in range(200):
            stream.append("x" * 1_000)
        await until(lambda: len(stream.items) == 200)
        monkeypatch.setattr(MemoryBackend, "latest", note)
        reading = asyncio.create_task(call(site, "stream", f"channel={CHANNEL}&id=m1", send))
        await until(lambda: sum(pieces) > 200_000)
        assert max(pieces) <= 64 * 1024
        await until(lambda: sys.getrefcount(pages[0]) <= 2)
        assert not reading.done()
    await reading
