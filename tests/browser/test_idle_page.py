"""Idle page with a hosted provider that loses events: a steady badge, and few requests."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from realtime_bridge.server.http.request import Receive, Scope, Send
from realtime_bridge.testing.providers import local_provider
from tests.browser.pages import Site, Tab

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timed]

IDLE_SECONDS = 600.0 if os.environ.get("FULL_LOAD") else 45.0
"""Duration of the idleness; one silence of a provider, and one position check, take 30 s."""

WINDOW_SECONDS = 120.0
MAX_CALLS = 5


@pytest_asyncio.fixture(loop_scope="module", params=["ably", "pusher"])
async def name(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[str]:
    async with local_provider(request.param) as provider:
        provider.faults.lose = 0.05
        monkeypatch.setenv("REALTIME_LOG", "memory")
        for variable, value in provider.environment.items():
            monkeypatch.setenv(variable, value)
        yield request.param


@pytest_asyncio.fixture(loop_scope="module")
async def site(name: str, site: Site) -> Site:
    """Return a site that delivers by the provider."""
    return site


class Calls:
    """Requests to a site's server: the times of polls, and the number of renewed tokens."""

    def __init__(self, site: Site) -> None:
        self.times: list[float] = []
        self.renewals = 0
        self._application = site.server.http
        site.server.http = self._record

    async def _record(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/poll"):
            self.times.append(time.monotonic())
        else:
            self.renewals += 1
        await self._application(scope, receive, send)

    def most_within(self, seconds: float) -> int:
        """Return the largest number of polls in any period of this length."""
        counts = (sum(0 <= other - start < seconds for other in self.times) for start in self.times)
        return max(counts, default=0)


async def test_badge_of_an_idle_page_does_not_flicker(name: str, site: Site, tab: Tab) -> None:
    await tab.open()
    await tab.until(f"client.state.get().transport === '{name}'")
    await tab.live()
    await site.publish()
    # The provider may lose the last of the events: the next position check finds it.
    await tab.has_all(within=45)
    await tab.live()
    calls = Calls(site)
    labels = await tab.labels()
    await asyncio.sleep(IDLE_SECONDS)
    assert await tab.labels() == labels
    assert calls.times
    assert calls.most_within(WINDOW_SECONDS) <= MAX_CALLS
    # The token of a descriptor is renewed after 8 minutes, that of Ably after 9.5 minutes.
    assert calls.renewals <= IDLE_SECONDS // 480 + IDLE_SECONDS // 570
    await site.publish()
    await tab.has_all(within=45)
