"""Unmodified ably-js in a real Chromium: a page recovers events that Ably loses or repeats."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from realtime_bridge.testing.providers import LocalAbly
from tests.browser.pages import CHANNEL, TIMEOUT, Site, Tab

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def ably(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[LocalAbly]:
    async with LocalAbly() as ably:
        monkeypatch.setenv("REALTIME_LOG", "memory")
        for name, value in ably.environment.items():
            monkeypatch.setenv(name, value)
        yield ably


@pytest_asyncio.fixture(loop_scope="module")
async def site(ably: LocalAbly, site: Site) -> Site:
    """Return a site that delivers by Ably."""
    return site


async def wait_for_ably(tab: Tab) -> None:
    await tab.until("client.state.get().transport === 'ably'")
    await tab.live()


async def test_lost_repeated_and_reordered_events_are_repaired(
    ably: LocalAbly, site: Site, tab: Tab
) -> None:
    await tab.open()
    await wait_for_ably(tab)
    assert site.request_counts()["ws"] == 0
    ably.faults.lose, ably.faults.duplicate, ably.faults.reorder = 0.05, 0.05, 0.1
    for _ in range(60):
        await site.publish()
        await asyncio.sleep(0)
    ably.faults.heal()
    await tab.check_delivery()
    assert len(site.published) == 305


async def test_page_polls_while_ably_is_down_and_misses_no_event(
    ably: LocalAbly, site: Site, tab: Tab
) -> None:
    await tab.open(reconnectInterval=300)
    await wait_for_ably(tab)
    await tab.check_delivery()
    ably.faults.refuse = True
    ably.drop()
    await tab.shows("Polling")
    await tab.check_delivery()
    ably.faults.heal()
    await wait_for_ably(tab)
    await tab.check_delivery()


async def test_ably_token_is_renewed_on_the_open_connection(
    ably: LocalAbly, site: Site, tab: Tab
) -> None:
    ably.renewal_seconds = 599
    urls: asyncio.Queue[str] = asyncio.Queue()
    tab.page.on("response", lambda response: urls.put_nowait(response.url))
    await tab.open()
    await wait_for_ably(tab)
    async with asyncio.timeout(TIMEOUT):
        for _ in range(2):
            while not (await urls.get()).endswith("/auth/ably"):
                pass
    await tab.check_delivery()
    assert ably.accepted == 1
    assert ably.subscribers(f"realtime:{CHANNEL}") == 1
