"""The unmodified ably-js in a real Chromium: what Ably loses or repeats, the page does not."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from realtime_bridge.testing.providers import LocalAbly, ably_socket
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
    """A site that delivers by Ably."""
    return site


async def carried(tab: Tab) -> None:
    await tab.until("client.state.get().transport === 'ably'")
    await tab.live()


async def test_under_loss_repeats_and_reordering_each_event_comes_once_and_in_order(
    ably: LocalAbly, site: Site, tab: Tab
) -> None:
    await tab.open()
    await carried(tab)
    assert site.asked()["ws"] == 0
    ably.faults.lose, ably.faults.duplicate, ably.faults.reorder = 0.05, 0.05, 0.1
    for _ in range(60):
        await site.publish()
        await asyncio.sleep(0)
    ably.faults.heal()
    await tab.goes_on()
    assert len(site.published) == 305


async def test_without_ably_there_is_polling_and_nothing_is_missed_when_it_is_back(
    ably: LocalAbly, site: Site, tab: Tab
) -> None:
    await tab.open(reconnectInterval=300)
    await carried(tab)
    await tab.goes_on()
    ably.faults.refuse = True
    ably.drop()
    await tab.shows("Polling")
    await tab.goes_on()
    ably.faults.heal()
    await carried(tab)
    await tab.goes_on()


async def test_its_token_is_renewed_on_the_open_connection(
    ably: LocalAbly, site: Site, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ably_socket, "RENEWAL_SECONDS", 599)
    granted: asyncio.Queue[str] = asyncio.Queue()
    tab.page.on("response", lambda answer: granted.put_nowait(answer.url))
    await tab.open()
    await carried(tab)
    async with asyncio.timeout(TIMEOUT):
        for _ in range(2):
            while not (await granted.get()).endswith("/auth/ably"):
                pass
    await tab.goes_on()
    assert ably.accepted == 1
    assert ably.subscribers(f"realtime:{CHANNEL}") == 1
