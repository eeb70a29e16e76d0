"""Change of the provider while events are published, without loss for the page."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from realtime_bridge.testing.providers import LocalAbly, LocalPusher
from tests.browser.pages import Site, Tab

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Providers:
    pusher: LocalPusher
    ably: LocalAbly


@pytest_asyncio.fixture(loop_scope="module")
async def providers(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Providers]:
    async with LocalPusher() as pusher, LocalAbly() as ably:
        monkeypatch.setenv("REALTIME_LOG", "memory")
        monkeypatch.setenv("REALTIME_FAILOVER", "ably,websocket")
        for name, value in (ably.environment | pusher.environment).items():
            monkeypatch.setenv(name, value)
        yield Providers(pusher, ably)


@pytest_asyncio.fixture(loop_scope="module")
async def site(providers: Providers, site: Site) -> Site:
    """Return a site with the failover targets Pusher, Ably and its own server."""
    return site


async def wait_for_transport(tab: Tab, transport: str) -> None:
    await tab.until(f"client.state.get().transport === '{transport}'", within=45)
    await tab.live()


async def test_failover_from_pusher_to_ably_to_own_server(
    providers: Providers, site: Site, tab: Tab
) -> None:
    await tab.open(reconnectInterval=500)
    await wait_for_transport(tab, "pusher")
    stop = asyncio.Event()

    async def publish() -> None:
        while not stop.is_set():
            await site.publish(1)
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish())
        await tab.until("received.length > 20")
        await fail(providers.pusher)
        await wait_for_transport(tab, "ably")
        published = len(site.published)
        await tab.until(f"received.length > {published + 20}")
        await fail(providers.ably)
        await wait_for_transport(tab, "websocket")
        stop.set()
    await tab.check_delivery()
    assert await tab.value("client.state.get().generation") == await generation(site, tab)


async def generation(site: Site, tab: Tab) -> int:
    """Return the generation in the server's current descriptor."""
    response = await tab.page.request.post(f"{site.proxy.url}/realtime/connect", data={})
    descriptor: dict[str, int] = await response.json()
    return descriptor["generation"]


async def fail(provider: LocalPusher | LocalAbly) -> None:
    """Make a provider fail every call and reject every socket."""
    provider.faults.status = 500
    provider.faults.refuse = True
    provider.drop()
