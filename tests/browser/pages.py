"""Test page, its server, and the faulty proxy between them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Page, WebSocket, expect

from realtime_bridge import Event
from realtime_bridge.server import Bridge
from realtime_bridge.server.http.request import Receive, Request, Scope, Send
from realtime_bridge.server.http.response import Response
from realtime_bridge.testing import FaultyProxy
from tests.client.servers import Server, serving

CHANNEL = "user-ada"
SOCKETS = b"GET /realtime/ws"
"""First bytes of the connections for WebSockets."""

PAGE = Path(__file__).with_name("page.html")
TIMEOUT = 30.0
"""Longest wait where no limit is promised, in seconds."""

EventRecord = tuple[str, str, int, int]
"""Id, epoch, offset and number of an event."""


class Application(Bridge):
    """Bridge that also serves the test page."""

    is_silent = False
    """True if sockets are accepted, but receive no message."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/":
            page = Response(body=PAGE.read_bytes(), headers={"content-type": "text/html"})
            await page.send(send)
        elif scope["type"] == "websocket" and self.is_silent:
            await receive()
            await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
            while (await receive())["type"] != "websocket.disconnect":
                pass
        else:
            await super().__call__(scope, receive, send)


class Site:
    """Server, proxy of the browsers, and published events."""

    def __init__(self, server: Server, proxy: FaultyProxy, exits: AsyncExitStack) -> None:
        self.server = server
        self.proxy = proxy
        self.published: list[EventRecord] = []
        self.sockets_changed = asyncio.Event()
        """Set when a page opens or closes a WebSocket."""
        self._exits = exits
        self._steps = 0

    async def publish(self, count: int = 5) -> list[EventRecord]:
        """Publish events; every page has to receive them."""
        steps = range(self._steps + 1, self._steps + count + 1)
        self._steps += count
        events = [
            Event(channel=CHANNEL, event="step", key="latest", data={"step": step})
            for step in steps
        ]
        receipts = await self.server.bridge.publish_many(events)
        positions = [receipt.position for receipt in receipts if receipt.position]
        published = [
            (event.id, position.epoch, position.offset, step)
            for event, position, step in zip(events, positions, steps, strict=True)
        ]
        self.published += published
        return published

    def request_counts(self) -> dict[str, int]:
        """Return the number of requests of the client, by path."""
        return {
            path: self.server.requests[f"/realtime/{path}"] for path in ("connect", "poll", "ws")
        }

    async def has_sockets(self, tabs: Sequence["Tab"], count: int) -> None:
        """Wait until these tabs have this number of open WebSockets together."""
        async with asyncio.timeout(TIMEOUT):
            while sum(tab.open_sockets for tab in tabs) != count:
                self.sockets_changed.clear()
                await self.sockets_changed.wait()

    async def restart(self) -> None:
        """Replace the server by a new one with an empty log, at the same port."""
        port = self.server.port
        await self.server.stop()
        self.server = await self._exits.enter_async_context(serving(application(), port=port))


class Tab:
    """Page in the browser."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.sockets: list[WebSocket] = []
        self.errors: list[str] = []
        self._site = site
        page.on("websocket", self._opened)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def open(self, **options: int | str) -> None:
        """Load the page; `options` are the client's options, in milliseconds, and the page's."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        await self.page.goto(f"{self._site.proxy.url}/?{query}")

    async def live(self) -> None:
        await self.shows("Real-time")

    async def shows(self, label: str, *, within: float = TIMEOUT) -> None:
        """Wait until the page shows this status."""
        await expect(self.page.locator("#status")).to_have_text(label, timeout=within * 1_000)

    async def reason(self) -> str:
        return await self.page.locator("#reason").inner_text()

    async def gives_reason(self, text: str) -> None:
        """Wait until the page shows this reason of its status."""
        reason = self.page.locator("#reason")
        await expect(reason).to_have_text(text, timeout=TIMEOUT * 1_000)

    @property
    def open_sockets(self) -> int:
        return sum(not socket.is_closed() for socket in self.sockets)

    async def until(self, condition: str, *, within: float = TIMEOUT) -> None:
        """Wait until a JavaScript expression is true in the page."""
        await self.page.wait_for_function(condition, timeout=within * 1_000)

    async def value(self, expression: str) -> Any:
        return await self.page.evaluate(expression)

    async def labels(self) -> list[str]:
        """Return the status texts since the page was opened."""
        return [entry["label"] for entry in await self.value("labels")]

    async def has_all(self, *, within: float = TIMEOUT, resets: int = 0) -> None:
        """Wait for the last published event; check that each event came once and in order."""
        await self.until(f"received.length >= {len(self._site.published)}", within=within)
        records = [_record_of(event) for event in await self.value("received")]
        assert records == self._site.published
        assert len(await self.value("resets")) == resets
        assert not self.errors

    async def check_delivery(self) -> None:
        """Publish events, and check that every event so far came once and in order."""
        await self._site.publish()
        await self.has_all()

    def _opened(self, socket: WebSocket) -> None:
        self.sockets.append(socket)
        self._site.sockets_changed.set()
        socket.on("close", lambda _: self._site.sockets_changed.set())


@asynccontextmanager
async def open_site() -> AsyncGenerator[Site]:
    async with AsyncExitStack() as exits:
        server = await exits.enter_async_context(serving(application()))
        proxy = await exits.enter_async_context(FaultyProxy(server.port))
        yield Site(server, proxy, exits)


async def sign_in(context: BrowserContext, site: Site) -> None:
    await context.add_cookies([{"name": "session", "value": "ada", "url": site.proxy.url}])


def application() -> Application:
    return Application.from_env(authenticate=_user)


def _user(request: Request) -> str | None:
    return request.cookies.get("session")


def _record_of(event: dict[str, Any]) -> EventRecord:
    position = event["position"]
    return event["id"], position["epoch"], position["offset"], event["data"]["step"]
