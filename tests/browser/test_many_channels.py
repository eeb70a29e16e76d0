"""Pages with a channel for each row: lists that are left, joined, and longer than the limit."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from realtime_bridge import Event
from realtime_bridge.server.http.request import Message, Receive, Scope, Send
from realtime_bridge.server.http.response import Response
from realtime_bridge.testing.providers import local_provider
from tests.browser.bundle import bundle
from tests.browser.pages import Site, Tab

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 100
"""Channels per connection, where a page has more."""
TIMEOUT = 60.0
"""Longest wait for hundreds of rows, in seconds; on a busy machine a page takes some."""

TRANSPORTS = {"websocket": "LIVE", "sse": "LIVE", "poll": "FALLBACK"}
every_transport = pytest.mark.parametrize(("transport", "mode"), TRANSPORTS.items())


class Refusals:
    """Refusals of a server: close codes, failed requests, and errors on streams."""

    def __init__(self, site: Site, script: str) -> None:
        self.found: list[str] = []
        self._page = f'<!doctype html><main></main><script type="module">{script}</script>'
        self._bridge = site.server.bridge
        site.server.websockets = site.server.http = self._watch
        site.server.bridge.channel("job.{number}")(lambda user, number: user == "ada")

    async def _watch(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == "/favicon.ico":
            await Response(status=204).send(send)
            return
        if path == "/rows":
            head = {"content-type": "text/html; charset=utf-8"}
            await Response(body=self._page.encode(), headers=head).send(send)
            return

        async def record(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] == "websocket.close":
                self.found.append(f"{path} closed with {message.get('code')}")
            elif message.get("status", 200) >= 400:
                self.found.append(f"{path} answered {message['status']}")
            elif b'"type":"error"' in body or b'"type":"refused"' in body:
                self.found.append(f"{path} sent {body[:200]!r}")
            elif '"type":"refused"' in (message.get("text") or ""):
                self.found.append(f"{path} sent {message['text'][:200]}")
            await send(message)

        await self._bridge(scope, receive, record)


@pytest.fixture(scope="module")
def script() -> str:
    """Return the page's script, with the client from its sources."""
    return bundle("rows.tsx", with_sdks=True)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_LIMIT_CHANNELS_PER_CONNECTION", str(LIMIT))


@pytest_asyncio.fixture(loop_scope="module", params=["ably", "pusher"])
async def provider(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[str]:
    async with local_provider(request.param) as provider:
        monkeypatch.setenv("REALTIME_LOG", "memory")
        for variable, value in provider.environment.items():
            monkeypatch.setenv(variable, value)
        yield request.param


@pytest.fixture
def refusals(site: Site, script: str) -> Refusals:
    return Refusals(site, script)


async def open_rows(tab: Tab, site: Site, transport: str) -> None:
    await tab.page.goto(f"{site.proxy.url}/rows?transport={transport}")


async def show(tab: Tab, count: int) -> None:
    """Show so many new rows in one tick."""
    await tab.value(f"window.show({count})")


async def current(tab: Tab, count: int) -> None:
    """Wait until the page has so many rows, all of them current."""
    rows = "document.querySelectorAll('li').length"
    ready = "document.querySelectorAll('[data-phase=current]').length"
    await tab.until(f"{rows} === {count} && {ready} === {count}", within=TIMEOUT)


async def publish(site: Site, count: int, data: int) -> None:
    events = [Event(channel=f"job.{number}", event="step", data=data) for number in range(count)]
    await site.server.bridge.publish_many(events)


async def has_each(tab: Tab, count: int, data: int) -> None:
    """Wait until each row received this number, and as its last one."""
    numbers = f"[...Array({count}).keys()]"
    condition = f"{numbers}.every((n) => window.received[`job.${{n}}`]?.at(-1) === {data})"
    await tab.until(condition, within=TIMEOUT)


async def check(tab: Tab, refusals: Refusals, mode: str) -> None:
    assert refusals.found == []
    assert await tab.value("window.errors") == []
    assert await tab.value("window.resets") == []
    await tab.until(f"document.querySelector('#mode').textContent === '{mode}'")
    assert not tab.errors


@every_transport
async def test_list_of_200_rows_is_left_in_one_tick(
    tab: Tab, site: Site, refusals: Refusals, transport: str, mode: str
) -> None:
    await open_rows(tab, site, transport)
    await show(tab, 200)
    await current(tab, 200)
    await show(tab, 0)
    await show(tab, 5)
    await current(tab, 5)
    await publish(site, 5, 1)
    await has_each(tab, 5, 1)
    await tab.shows("Real-time" if mode == "LIVE" else "Polling")
    await check(tab, refusals, mode)


@every_transport
async def test_strict_list_of_100_rows_is_joined_and_left_again_and_again(
    tab: Tab, site: Site, refusals: Refusals, transport: str, mode: str
) -> None:
    await open_rows(tab, site, transport)
    for data in (1, 2, 3):
        await show(tab, 100)
        await current(tab, 100)
        await publish(site, 100, data)
        # A row whose component is new gets what its predecessor had not received.
        await show(tab, 100)
        await has_each(tab, 100, data)
    counts = "[...new Set(Object.values(window.received).map((data) => data.join()))]"
    assert await tab.value(counts) == ["1,2,3"]
    await tab.shows("Real-time" if mode == "LIVE" else "Polling")
    await check(tab, refusals, mode)


async def receive_on_each(tab: Tab, site: Site, count: int) -> None:
    """Show so many rows, and publish to each of them."""
    await show(tab, count)
    await current(tab, count)
    for data in (1, 2):
        await publish(site, count, data)
        await has_each(tab, count, data)


@every_transport
async def test_300_channels_are_live_and_current(
    tab: Tab, site: Site, refusals: Refusals, transport: str, mode: str
) -> None:
    await open_rows(tab, site, transport)
    await receive_on_each(tab, site, 300)
    await tab.shows("Real-time" if mode == "LIVE" else "Polling")
    await check(tab, refusals, mode)


async def test_300_channels_are_current_at_a_provider(
    provider: str, tab: Tab, site: Site, refusals: Refusals
) -> None:
    """Ably has 200 channels per connection, and one of them announces revocations."""
    await open_rows(tab, site, "auto")
    await receive_on_each(tab, site, 300)
    await tab.shows("Real-time" if provider == "pusher" else "Polling")
    if provider == "ably":
        reason = "101 channels are polled: this connection does not carry them"
        await tab.gives_reason(reason)
        await show(tab, 199)
        await current(tab, 199)
        await tab.shows("Real-time")
    assert await tab.value("client.state.get().transport") == provider
    await check(tab, refusals, "LIVE")


@pytest.mark.usefixtures("limited")
@every_transport
async def test_channels_over_the_limit_are_polled_until_there_is_room(
    tab: Tab, site: Site, refusals: Refusals, transport: str, mode: str
) -> None:
    await open_rows(tab, site, transport)
    await receive_on_each(tab, site, 140)
    await tab.shows("Polling")
    if mode == "LIVE":
        reason = f"{140 - LIMIT} channels are polled: this connection does not carry them"
        await tab.gives_reason(reason)
    await show(tab, LIMIT)
    await current(tab, LIMIT)
    await publish(site, LIMIT, 3)
    await has_each(tab, LIMIT, 3)
    await tab.shows("Real-time" if mode == "LIVE" else "Polling")
    await check(tab, refusals, mode)
