"""One Chromium for all the tests here; each has a server, a proxy and a session of its own."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

from tests.browser.pages import Site, Tab, open_site, sign_in
from tests.client.servers import SECRET

CHROMIUM = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
]

OpenTab = Callable[[], Awaitable[Tab]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Site]:
    monkeypatch.setenv("REALTIME_SECRET", SECRET)
    async with open_site() as site:
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(browser: Browser, site: Site) -> AsyncGenerator[BrowserContext]:
    """A browser that nobody has signed in with."""
    context = await browser.new_context()
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def context(stranger: BrowserContext, site: Site) -> BrowserContext:
    """A browser of Ada's."""
    await sign_in(stranger, site)
    return stranger


@pytest_asyncio.fixture(loop_scope="module")
async def tab(context: BrowserContext, site: Site) -> Tab:
    return Tab(await context.new_page(), site)
