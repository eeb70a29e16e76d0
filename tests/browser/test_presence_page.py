"""Members of a channel in Chromium: two users, two tabs, and reloads that the other user misses."""

import pytest
from playwright.async_api import Browser, BrowserContext

from tests.browser.pages import Site, Tab

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHANNEL = "document.7"
WATCH = f"""() => {{
  window.changes = [];
  window.presence = client.presence('{CHANNEL}', {{
    onJoin: ({{ user }}) => changes.push('+' + user),
    onLeave: ({{ user }}) => changes.push('-' + user),
  }});
  presence.state.subscribe(() => {{}});
}}"""
MEMBERS = "presence.state.get().members.map(({ user, info }) => user + info.name).sort().join(' ')"


async def open_members(tab: Tab, members: str) -> None:
    """Load the page, and wait until it shows these members."""
    await tab.open()
    await tab.value(WATCH)
    await tab.until(f"{MEMBERS} === '{members}'")


async def test_user_joins_and_leaves_once_over_tabs_and_reloads(
    browser: Browser, context: BrowserContext, site: Site
) -> None:
    bridge = site.server.bridge
    bridge.channel("document.{number}")(lambda user, number: True)

    @bridge.presence("document.{number}")
    def describe(user: str, number: str) -> dict[str, str]:
        return {"name": user.upper()}

    other = await browser.new_context()
    await other.add_cookies([{"name": "session", "value": "bob", "url": site.proxy.url}])
    bob = Tab(await other.new_page(), site)
    await open_members(bob, "bobBOB")
    tabs = [Tab(await context.new_page(), site) for _ in range(2)]
    for tab in tabs * 2:  # the second time is a reload, while the other tab is open
        await open_members(tab, "adaADA bobBOB")
    await bob.until(f"{MEMBERS} === 'adaADA bobBOB'")
    await context.close()
    await bob.until(f"{MEMBERS} === 'bobBOB'")
    changes = await bob.value("changes.filter((change) => change.endsWith('ada'))")
    assert changes == ["+ada", "-ada"]
    assert not bob.errors
    await other.close()
