"""Same application and page on every provider, selected by the environment alone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from realtime_bridge.testing.providers import local_provider
from tests.services.redis import RedisServer

if TYPE_CHECKING:
    from tests.examples.conftest import Demo, Start

Environment = Mapping[str, str]
Provide = Callable[[Path], AbstractAsyncContextManager[Environment]]


@asynccontextmanager
async def websocket(_: Path) -> AsyncIterator[Environment]:
    yield {}


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[Environment]:
    with RedisServer(folder, "--save", "") as server:
        yield {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": server.url}


@asynccontextmanager
async def pusher(_: Path) -> AsyncIterator[Environment]:
    async with local_provider("pusher") as provider:
        yield {**provider.environment, "REALTIME_LOG": "memory"}


@asynccontextmanager
async def ably(_: Path) -> AsyncIterator[Environment]:
    async with local_provider("ably") as provider:
        yield {**provider.environment, "REALTIME_LOG": "memory"}


PROVIDERS = [websocket, redis, pusher, ably]
TRANSPORTS = {"redis": "websocket"}
TIMEOUT = 20.0


@pytest_asyncio.fixture(loop_scope="module", params=PROVIDERS, ids=lambda provide: provide.__name__)
async def transport(
    request: pytest.FixtureRequest, start: "Start", tmp_path: Path
) -> AsyncGenerator[tuple[str, Callable[..., "Demo"]]]:
    provide: Provide = request.param
    name = request.param.__name__
    (tmp_path / "provider").mkdir()
    async with provide(tmp_path / "provider") as environment:
        yield (
            TRANSPORTS.get(name, name),
            lambda *files: start(*files, **environment, QUEUE_BYTES_PER_SECOND="3000000"),
        )


async def test_page_shows_a_job_through_every_backend(
    transport: Any, page: Page, tmp_path: Path
) -> None:
    name, start = transport
    file = tmp_path / "measurements.log"
    file.write_bytes(b"station 7 ok\n" * 80_000)
    demo = start()
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    async with page.expect_response("**/api/queue") as response:
        await page.goto(demo.url)
    position = (await (await response.value).all_headers())["realtime-position"].split()[1]
    await expect(page.locator("#status strong")).to_have_text("Real-time")
    async with asyncio.timeout(TIMEOUT):
        while not any(is_of(name, url) for url in sockets):
            await page.wait_for_event("websocket")
    # ably-js opens a socket of its own to check connectivity if a connection takes over 4 s.
    opened = [url for url in sockets if "ws-up.ably-realtime.com" not in url]
    assert [is_of(name, url) for url in opened] == [True], sockets

    await page.set_input_files("input[type=file]", file)

    await expect(page.locator(".pill")).to_have_text("Completed")
    epoch, _, offset = position.partition(":")
    published = demo.poll({"epoch": epoch, "offset": int(offset)})["events"]
    applied = await page.evaluate("applied")
    assert [event["position"]["offset"] for event in applied] == [
        event["offset"] for event in published
    ]
    assert [event["data"] for event in applied] == [event["data"] for event in published]
    assert len(published) > 3


def is_of(name: str, url: str) -> bool:
    """Return whether the URL of a socket belongs to a transport."""
    return {"websocket": "/realtime/ws", "pusher": "/app/", "ably": "access_token="}[name] in url
