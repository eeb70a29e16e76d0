"""Page with a hosted provider: a revocation, a channel that fails, and a provider that fails."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from realtime_bridge.testing.providers import LocalAbly, LocalPusher, local_provider
from tests.browser.pages import CHANNEL, Site, Tab

pytestmark = pytest.mark.asyncio(loop_scope="module")

Provider = LocalAbly | LocalPusher

TIMEOUT = 20.0
"""Longest wait for what happens at once, in seconds: a position check would come after 30 s."""


@pytest_asyncio.fixture(loop_scope="module", params=["ably", "pusher"])
async def provider(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Provider]:
    async with local_provider(request.param) as provider:
        assert isinstance(provider, LocalAbly | LocalPusher)
        monkeypatch.setenv("REALTIME_LOG", "memory")
        for variable, value in provider.environment.items():
            monkeypatch.setenv(variable, value)
        yield provider


@pytest_asyncio.fixture(loop_scope="module")
async def site(provider: Provider, site: Site) -> Site:
    """Return a site that delivers by the provider."""
    return site


def name_of(provider: Provider) -> str:
    start = "private-realtime." if isinstance(provider, LocalPusher) else "realtime:"
    return start + CHANNEL


def subscribers(provider: Provider) -> int:
    """Return the number of connections that subscribe to the page's channel."""
    if isinstance(provider, LocalPusher):
        return provider.channels.subscribers(name_of(provider))
    return provider.subscribers(name_of(provider))


async def until_subscribers(provider: Provider, count: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        await provider.until(lambda: subscribers(provider) == count)


async def test_revoked_channel_ends_at_once(provider: Provider, site: Site, tab: Tab) -> None:
    await tab.open()
    await tab.live()
    await tab.check_delivery()
    receipt = await site.server.bridge.revoke(channel=CHANNEL)
    assert receipt.remaining
    await until_subscribers(provider, 0)
    await tab.until(f"client.channel('{CHANNEL}').get().error !== null")
    await site.publish()
    assert len(await tab.value("received")) == 5


async def test_revoked_user_needs_access_again(provider: Provider, site: Site, tab: Tab) -> None:
    await tab.open(reconnectInterval=300)
    await tab.live()
    await tab.check_delivery()
    before = provider.accepted
    await tab.page.context.clear_cookies()
    await site.server.bridge.revoke(user="ada")
    await until_subscribers(provider, 0)
    await site.publish()
    await tab.until("client.state.get().kind !== 'realtime'")
    assert len(await tab.value("received")) == 5
    assert provider.accepted == before


async def test_channel_that_is_refused_at_first_goes_live(
    provider: Provider, site: Site, tab: Tab
) -> None:
    provider.faults.failing = frozenset({name_of(provider)})
    await tab.open()
    await tab.until("labels.some(({ label }) => ['Delayed', 'Polling'].includes(label))")
    provider.faults.heal()
    await until_subscribers(provider, 1)
    await tab.live()
    await tab.check_delivery()
    assert provider.accepted == 1
