"""Pages without a client of ours: EventSource, htmx 2, htmx 4 and Datastar read plain streams."""

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from realtime_bridge.protocol.wire.plain_events import encode_id, encode_retry
from realtime_bridge.server import Bridge
from realtime_bridge.server.http.request import Receive, Request, Scope, Send
from realtime_bridge.server.http.response import Response
from realtime_bridge.testing import FaultyProxy
from tests.browser.bundle import bundle
from tests.client.servers import SECRET, TIMEOUT, Server, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHANNEL = "user-ann"
ROOT = Path(__file__).parents[2]
MODULES = ROOT / "clients" / "js" / "node_modules"
LIBRARIES = {
    "npm/htmx.org@2.0.11/": MODULES / "htmx.org",
    "npm/htmx-ext-sse@2.2.4/": MODULES / "htmx-ext-sse",
    "npm/htmx.org@4.0.1/": MODULES / "htmx4",
    # npm has an older version, whose events have other names.
    "gh/starfederation/datastar@v1.0.0-RC.5/": MODULES / "@starfederation/datastar/dist",
}
"""Folders of the libraries, by their places on a server of packages."""

ID = "job.7/k3v9q2wz:124~9f3a user-1,a=b;c@d/abcdefgh:0"
ID_PAGE = "<script>const source = new EventSource('/id-alone')</script>"
HTML = re.compile(r"```html\n(.*?)\n```", re.DOTALL)


@cache
def pages() -> dict[str, str]:
    """Return the pages of the document by their headings; this server has their libraries."""
    text = (ROOT / "docs" / "sse.md").read_text(encoding="utf-8")
    html = {"id": ID_PAGE}
    for section in text.replace("https://cdn.jsdelivr.net/", "/library/").split("\n## "):
        if block := HTML.search(section):
            html[section.partition("\n")[0]] = block[1]
    return html


@cache
def library(name: str) -> bytes:
    (file,) = (
        folder / name.removeprefix(place)
        for place, folder in LIBRARIES.items()
        if name.startswith(place)
    )
    # Datastar's package has modules that a browser does not find.
    return bundle(str(file)).encode() if "datastar" in name else file.read_bytes()


@dataclass(frozen=True)
class Kind:
    """Form in which the events of a page insert a row."""

    event: str = "row"
    before: str = ""


KINDS = {
    "JavaScript": Kind(),
    "htmx 2": Kind(),
    "htmx 4": Kind("message"),
    "Datastar": Kind("datastar-merge-fragments", "selector #rows\nmergeMode append\nfragments "),
}


class Application(Bridge):
    """Bridge that also serves the pages and their libraries."""

    last_ids: list[str | None]
    """Header of each request for a stream that sets an id, and ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, _, path = scope.get("path", "").partition("/")
        if path in pages():
            html = f"<!doctype html><meta charset=utf-8>{pages()[path]}".encode()
            await Response(body=html, headers={"content-type": "text/html"}).send(send)
        elif path.startswith("library/"):
            body = library(path.removeprefix("library/"))
            await Response(body=body, headers={"content-type": "text/javascript"}).send(send)
        elif path == "id-alone":
            self.last_ids.append(Request(scope, receive).headers.get("last-event-id"))
            body = encode_retry(20) + encode_id(ID)
            await Response(body=body, headers=Response.event_stream().headers).send(send)
        else:
            await super().__call__(scope, receive, send)


class Door:
    """Server of plain streams behind a proxy, and a page that shows their rows."""

    def __init__(self, server: Server, proxy: FaultyProxy, page: Page, name: str) -> None:
        self.server = server
        self.proxy = proxy
        self.page = page
        self._name = name
        self._kind = KINDS[name]
        self.expected: list[str] = []

    async def open(self) -> None:
        await self.page.goto(f"{self.proxy.url}/{quote(self._name)}")

    async def publish(self, *rows: str, **options: Any) -> None:
        for row in rows:
            html = f"{self._kind.before}<li id='r-{row}'>{row}</li>"
            await self.server.bridge.publish(CHANNEL, self._kind.event, html, **options)
        self.expected += rows

    async def shows_all(self) -> None:
        """Wait for the last row; each row is shown once, and in order."""
        rows = self.page.locator("#rows li")
        await expect(rows.last).to_have_text(self.expected[-1], timeout=20_000)
        assert await rows.all_text_contents() == self.expected


@pytest_asyncio.fixture(loop_scope="module", params=KINDS)
async def door(
    request: pytest.FixtureRequest, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Door]:
    monkeypatch.setenv("REALTIME_SECRET", SECRET)
    bridge = Application.from_env(authenticate=lambda request: request.cookies.get("session"))
    context = await browser.new_context()
    async with serving(bridge) as server, FaultyProxy(server.port) as proxy:
        cookie: Any = {"name": "session", "value": "ann", "url": proxy.url}
        await context.add_cookies([cookie])
        yield Door(server, proxy, await context.new_page(), request.param)
        await context.close()


async def test_page_without_our_client_shows_each_row_once(door: Door) -> None:
    await door.publish("latest", key="k")
    await door.open()
    await door.shows_all()
    await door.publish("a", "b", "c")
    await door.shows_all()
    door.proxy.close_port()
    door.proxy.drop()
    await door.publish("d", "e")
    await door.proxy.open_port()
    await door.publish("f")
    await door.shows_all()


async def test_chromium_sends_back_an_id_that_no_event_had(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_SECRET", SECRET)
    bridge = Application.from_env()
    bridge.last_ids = []
    async with serving(bridge) as server:
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{server.port}/id")
        async with asyncio.timeout(TIMEOUT):
            while len(bridge.last_ids) < 2:
                server.requested.clear()
                await server.requested.wait()
        await page.close()
    assert bridge.last_ids[:2] == [None, ID]
