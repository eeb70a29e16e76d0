"""Tests of streams of Server-Sent Events, which carry the frames of a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import ClientResponse

from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.server.timing import ServerTiming
from tests.server.harness import TIMEOUT, Frame, Serve, Site

CHANNEL = "job.7"


class Stream:
    """Open stream with the id of the last event."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.last_id: str | None = None

    async def next(self) -> Frame:
        async with asyncio.timeout(TIMEOUT):
            while True:
                line = (await self.response.content.readline()).decode()
                assert line, "the stream has ended"
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "id":
                    self.last_id = value
                if name == "data":
                    frame: Frame = orjson.loads(value)
                    return frame

    async def expect(self, kind: str) -> Frame:
        frame = await self.next()
        assert frame["type"] == kind, frame
        return frame


@asynccontextmanager
async def post_stream(site: Site, positions: Any, **options: Any) -> AsyncIterator[Stream]:
    bearer = {"authorization": f"Bearer {site.token(**options)}"}
    body = {"positions": positions}
    async with site.http.post(f"{site.url}/sse", json=body, headers=bearer) as response:
        yield Stream(response)


async def test_stream_has_the_frames_of_a_socket(site: Site) -> None:
    async with post_stream(site, {CHANNEL: None}) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert stream.response.headers["cache-control"] == "no-store, no-transform"
        assert (await stream.expect("welcome"))["user"] == "42"
        await stream.expect("subscribed")
        await site.fill(CHANNEL, ["a", "b"])
        assert [(await stream.expect("event"))["data"] for _ in "ab"] == ["a", "b"]


async def test_new_stream_resumes_from_the_given_positions(site: Site) -> None:
    await site.fill(CHANNEL, range(3))
    start = await site.bridge.position(CHANNEL)
    after = {"epoch": start.epoch, "offset": 1}
    async with post_stream(site, {CHANNEL: after}) as stream:
        await stream.expect("welcome")
        subscribed = await stream.expect("subscribed")
        assert [event["data"] for event in subscribed["events"]] == [1, 2]


async def test_forbidden_channel_is_refused_on_the_stream(site: Site) -> None:
    async with post_stream(site, {"job.8": None}) as stream:
        await stream.expect("welcome")
        await stream.expect("subscribed")
    bearer = {"authorization": f"Bearer {site.tokens.issue('42')}"}
    body = {"positions": {"job.8": None}}
    async with site.http.post(f"{site.url}/sse", json=body, headers=bearer) as response:
        stream = Stream(response)
        await stream.expect("welcome")
        refused = await stream.expect("refused")
        assert (refused["channel"], refused["code"]) == ("job.8", 403)


async def test_stream_with_wrong_method_is_405(site: Site) -> None:
    async with site.http.put(f"{site.url}/sse") as response:
        assert (response.status, response.headers["allow"]) == (405, "GET, POST")


async def test_heartbeat_has_the_offsets_of_the_channels(
    serve: Serve,
) -> None:
    site = await serve(timing=ServerTiming(session=SessionTiming(heartbeat=0.02)))
    async with post_stream(site, {CHANNEL: None}) as stream:
        await stream.expect("welcome")
        while (await stream.next())["type"] != "subscribed":
            pass
        await site.fill(CHANNEL, ["a"])
        offsets: dict[str, int] = {}
        while CHANNEL not in offsets:
            offsets = (await stream.next()).get("offsets", {})
        assert offsets[CHANNEL] == 1


async def test_expired_token_ends_the_stream_with_an_error(
    serve: Serve,
) -> None:
    site = await serve(timing=ServerTiming(session=SessionTiming(token_skew=0.0)))
    async with post_stream(site, {CHANNEL: None}, seconds=1.01) as stream:
        frame = await stream.next()
        while frame["type"] != "error":
            frame = await stream.next()
        assert frame["code"] == CloseCode.TOKEN
        assert await stream.response.content.read() in (b"", b"\n")
