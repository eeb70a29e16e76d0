"""Unmodified pusher-js 8, pusher-js 7 and Laravel Echo in Chromium, on this server.

A fourth page has our own client in the form of pusher-js, by the connector of Laravel Echo.
"""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from pusher import Pusher
from pusher.aiohttp import AsyncIOBackend

from realtime_bridge.server import Bridge
from realtime_bridge.server.http.request import Receive, Request, Scope, Send
from realtime_bridge.server.http.response import Response
from tests.browser.bundle import bundle
from tests.client.servers import SECRET, TIMEOUT, Server, serving
from tests.server.pusher.clients import APP, ENVIRONMENT

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODULES = Path(__file__).parents[2] / "clients" / "js" / "node_modules"
FILES = {
    "8": "pusher-js/dist/web/pusher.min.js",
    "7": "pusher-js-7/dist/web/pusher.min.js",
    "echo": "laravel-echo/dist/echo.iife.js",
}
OPTIONS = """{
  cluster: '', wsHost: location.hostname, wsPort: location.port, forceTLS: false,
  enabledTransports: ['ws'], disableStats: true,
  channelAuthorization: { endpoint: '/realtime/auth/pusher?user=%(user)s', transport: 'ajax' },
}"""
PAGES = {
    "8": "window.pusher = new Pusher('%(key)s', %(options)s)",
    "7": "window.pusher = new Pusher('%(key)s', %(options)s)",
    "echo": "window.pusher = new Echo.default({ broadcaster: 'reverb', key: '%(key)s', "
    "...%(options)s }).connector.pusher",
}
SCRIPT = """
window.received = [], window.members = []
const room = pusher.subscribe('presence-room'), job = pusher.subscribe('private-job.7')
const show = () => { members = Object.keys(room.members.members).sort() }
for (const name of ['subscription_succeeded', 'member_added', 'member_removed']) {
  room.bind('pusher:' + name, show)
}
job.bind('step', (data) => received.push(data))
job.bind('pusher:subscription_succeeded', () => { window.ready = true })
"""


OWN = "own"


def html_of_our_client(token: str) -> bytes:
    """Return the page with our own client."""
    code = bundle("pusher.ts")
    begin = f"<!doctype html><meta charset=utf-8><script>window.token = '{token}'</script>"
    return f"{begin}<script type=module>{code}\n{SCRIPT}</script>".encode()


def html(name: str, user: str) -> bytes:
    """Return the page of a library."""
    values = {"key": APP.key, "options": OPTIONS % {"user": user}}
    scripts = ["8", "echo"] if name == "echo" else [name]
    tags = [f"<script src='/library/{script}'></script>" for script in scripts]
    code = f"<script>{PAGES[name] % values}\n{SCRIPT}</script>"
    return f"<!doctype html><meta charset=utf-8>{''.join(tags)}{code}".encode()


class Application(Bridge):
    """Bridge that also serves the pages."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, _, name = scope.get("path", "").partition("/")
        if name in (*PAGES, OWN):
            user = Request(scope, receive).query_params["user"]
            token = self.issue_token(user)
            body = html(name, user) if name in PAGES else html_of_our_client(token)
            page = Response(body=body, headers={"content-type": "text/html"})
            await page.send(send)
        elif name.startswith("library/"):
            body = (MODULES / FILES[name.removeprefix("library/")]).read_bytes()
            script = Response(body=body, headers={"content-type": "text/javascript"})
            await script.send(send)
        else:
            await super().__call__(scope, receive, send)


@pytest_asyncio.fixture(loop_scope="module")
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Server]:
    options = {"REALTIME_SECRET": SECRET, "REALTIME_PUSHER_DOOR": "true", **ENVIRONMENT}
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    bridge = Application.from_env(authenticate=lambda request: request.query_params.get("user"))
    bridge.channel("job.{number}")(lambda *_, **__: True)
    bridge.channel("presence.{room}")(lambda *_, **__: True)
    async with serving(bridge) as server:
        yield server


async def until(page: Page, condition: str, value: Any = None) -> None:
    await page.wait_for_function(condition, arg=value, timeout=TIMEOUT * 1_000)


async def test_pages_of_three_libraries_share_events_and_members(
    browser: Browser, server: Server
) -> None:
    errors: list[str] = []
    pages = {}
    for name in (*PAGES, OWN):
        page = pages[name] = await browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"http://127.0.0.1:{server.port}/{name}?user=user-{name}")
    for page in pages.values():
        await until(page, "window.ready")
        await until(page, "all => String(members) === all", "user-7,user-8,user-echo,user-own")
    sdk = Pusher(
        APP.app_id, APP.key, APP.secret,
        ssl=False, host="127.0.0.1", port=server.port, backend=AsyncIOBackend,
    )  # fmt: skip
    for number in range(0, 20, 2):
        await server.bridge.publish("job.7", "step", number)
        await sdk.trigger("private-job.7", "step", str(number + 1))
    for page in pages.values():
        await until(page, "received.length === 20")
        assert await page.evaluate("received") == [*range(20)]
    await pages["8"].close()
    await pages["7"].reload()
    for name in ("echo", "7", OWN):
        await until(pages[name], "all => String(members) === all", "user-7,user-echo,user-own")
        await pages[name].close()
