"""Chromium for all browser tests; each test has its own server, proxy and session."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext

from tests.browser.pages import Site, Tab, open_site, sign_in
from tests.client.servers import SECRET
from tests.services.chromium import open_browser

OpenTab = Callable[[], Awaitable[Tab]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with open_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Site]:
    monkeypatch.setenv("REALTIME_SECRET", SECRET)
    async with open_site() as site:
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def signed_out_context(browser: Browser, site: Site) -> AsyncGenerator[BrowserContext]:
    """Return a browser context without a session."""
    context = await browser.new_context()
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def context(signed_out_context: BrowserContext, site: Site) -> BrowserContext:
    """Return a browser context in which Ada is signed in."""
    await sign_in(signed_out_context, site)
    return signed_out_context


@pytest_asyncio.fixture(loop_scope="module")
async def tab(context: BrowserContext, site: Site) -> Tab:
    return Tab(await context.new_page(), site)
