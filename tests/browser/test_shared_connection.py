"""Tabs of one browser that share a connection, and tabs that must not."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import BrowserContext, CDPSession, Route

from tests.browser.pages import CHANNEL, EventRecord, Site, Tab

pytestmark = pytest.mark.asyncio(loop_scope="module")

FULL = "FULL_LOAD" in os.environ
KILLS = 20 if FULL else 4
STOPPED_SECONDS = 60.0 if FULL else 0.0
"""Time for which a tab is stopped, beyond what the test waits for."""

CPU_SECONDS = 0.2
"""CPU time by which the busy process has to be ahead of all others."""

SILENT_SECONDS = 2.0
"""Time without an answer after which a tab counts as stopped."""

HANDOVER_MS = 2_000
PAUSE_SECONDS = 0.02
"""Pause between two events of a stream."""

ONE_CONNECTION = """fetch('./realtime/health')
  .then((response) => response.json())
  .then(({ connections }) => connections === 1)"""
NO_LOCKS = "Object.defineProperty(navigator, 'locks', { value: undefined })"
NOISE = """async () => {
  const { held } = await navigator.locks.query();
  const name = held.map(({ name }) => name).find((name) => name.endsWith(']'));
  const channel = new BroadcastChannel(name);
  const id = crypto.randomUUID();
  const relay = { type: 'relay', leader: id, to: null, message: { type: 'event' } };
  const messages = [
    null, 1, 'text', [], {}, new Uint8Array(8), { type: 'toString' }, relay,
    { type: 'hello', follower: 1 },
    { type: 'leader', leader: id, term: 'later', ready: true, health: {} },
    { type: 'closed', leader: id },
    { type: 'join', leader: id, follower: id, channel: 'x', position: {} },
  ];
  for (const message of messages) channel.postMessage(message);
}"""
RETRY = f"() => client.channel('{CHANNEL}').get().error && client.subscribe('{CHANNEL}', {{}})"


RESTARTS = """async () => {
  const { HybridClient } = await import('./realtime/client.js');
  const others = [1, 2, 3].map(() => new HybridClient({ endpoint: './realtime' }));
  window.clients = [client, ...others];
  window.other = [];
  others[0].subscribe('user-ada', { onEvent: ({ id }) => void other.push(id) });
  for (let round = 0; round < 10; round += 1) {
    for (const one of clients) one.start();
    await new Promise((resolve) => setTimeout(resolve, 40 * Math.random()));
    if (round < 9) for (const one of clients) one.stop();
  }
}"""
NO_LOCKS_LEFT = """navigator.locks.query()
  .then(({ held, pending }) => held.length + pending.length === 0)"""


async def open_tabs(context: BrowserContext, site: Site, count: int, **options: str) -> list[Tab]:
    tabs = [Tab(await context.new_page(), site) for _ in range(count)]
    for tab in tabs:
        await tab.open(**options)
    for tab in tabs:
        await tab.live()
    return tabs


async def leader_of(site: Site, tabs: list[Tab]) -> Tab:
    """Wait until one tab has the socket, and return it."""
    await site.has_sockets(tabs, 1)
    [leader] = [tab for tab in tabs if tab.open_sockets]
    return leader


async def have_all(tabs: list[Tab]) -> None:
    for tab in tabs:
        await tab.has_all()
        await tab.live()


async def one_socket(site: Site, tabs: list[Tab]) -> None:
    """Wait until one of these tabs has a socket, and the server no other."""
    await site.has_sockets(tabs, 1)
    await tabs[0].until(ONE_CONNECTION)


class Stream:
    """Events that are published all the time."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ended = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            try:
                yield
            finally:
                self._ended.set()

    async def _publish(self) -> None:
        while not self._ended.is_set():
            await self._site.publish(1)
            await asyncio.sleep(PAUSE_SECONDS)


async def check_from_start(tab: Tab, published: list[EventRecord], at_least: int) -> None:
    """Check that a tab received all events since it began: in order, each once."""
    last = published[-1][0]
    await tab.until(f"received.at(-1)?.id === '{last}'")
    ids = [event["id"] for event in await tab.value("received")]
    assert len(ids) >= at_least
    assert ids == [record[0] for record in published[-len(ids) :]]
    assert await tab.value("resets") == []
    assert await tab.value("Math.max(...received.map(({ delay }) => delay))") < HANDOVER_MS
    assert not tab.errors


async def test_six_tabs_share_one_socket(site: Site, context: BrowserContext) -> None:
    tabs = await open_tabs(context, site, 6)
    await site.publish()
    await have_all(tabs)
    await one_socket(site, tabs)
    assert site.request_counts()["ws"] == 1
    for tab in tabs:
        assert await tab.value("client.state.get().transport") == "websocket"


async def test_tabs_stay_exact_while_leaders_are_killed(
    site: Site, context: BrowserContext
) -> None:
    tabs = await open_tabs(context, site, 6)
    counts = dict.fromkeys(tabs, 0)
    async with Stream(site).running():
        for number in range(KILLS):
            leader = await leader_of(site, tabs)
            tabs.remove(leader)
            await end(leader, crash=number % 2 == 0)
            [new] = await open_tabs(context, site, 1)
            counts[new] = len(site.published)
            tabs.append(new)
            await tabs[0].until(f"received.length >= {len(site.published) - counts[tabs[0]]}")
    for tab in tabs:
        await check_from_start(tab, site.published, len(site.published) - counts[tab])
        await tab.live()
    await one_socket(site, tabs)


async def end(tab: Tab, *, crash: bool) -> None:
    """Crash the process of a tab, or close the tab."""
    if not crash:
        await tab.page.close()
        return
    devtools = await tab.page.context.new_cdp_session(tab.page)
    crashed = asyncio.Event()
    tab.page.on("crash", lambda _: crashed.set())
    command = asyncio.ensure_future(devtools.send("Page.crash"))
    await crashed.wait()
    command.cancel()
    await tab.page.close()


async def test_stopped_leader_is_replaced_and_resumes(site: Site, context: BrowserContext) -> None:
    tabs = await open_tabs(context, site, 3)
    leader = await leader_of(site, tabs)
    others = [tab for tab in tabs if tab is not leader]
    async with stopped(leader):
        await site.publish()
        await have_all(others)
        await site.has_sockets(others, 1)
        await asyncio.sleep(STOPPED_SECONDS)
        await site.publish()
    await have_all(tabs)
    await one_socket(site, tabs)
    assert not leader.open_sockets


async def test_stopped_follower_resumes(site: Site, context: BrowserContext) -> None:
    tabs = await open_tabs(context, site, 2)
    leader = await leader_of(site, tabs)
    follower = next(tab for tab in tabs if tab is not leader)
    async with stopped(follower):
        await site.publish()
        await asyncio.sleep(STOPPED_SECONDS)
        await leader.page.close()
        await site.publish()
    await have_all([follower])
    await one_socket(site, [follower])


@asynccontextmanager
async def stopped(tab: Tab) -> AsyncGenerator[None]:
    """Stop the process of a tab. Chromium starts spare ones, which can use the CPU as well."""
    while True:
        process = await busiest_process(tab)
        os.kill(process, signal.SIGSTOP)
        try:
            answer = asyncio.ensure_future(tab.value("1"))
            answered, _ = await asyncio.wait({answer}, timeout=SILENT_SECONDS)
            if not answered:
                yield
        finally:
            os.kill(process, signal.SIGCONT)
        await answer
        if not answered:
            return


async def busiest_process(tab: Tab) -> int:
    """Return the id of the renderer that uses the CPU while a tab's script does."""
    assert tab.page.context.browser
    devtools = await tab.page.context.browser.new_browser_cdp_session()
    before = await cpu_times(devtools)
    while True:
        await tab.value("(() => { const end = Date.now() + 300; while (Date.now() < end); })()")
        after = await cpu_times(devtools)
        used = {process: after[process] - before.get(process, 0) for process in after}
        *_, second, first = sorted(used, key=lambda process: used[process])
        # On a busy machine the script may wait for most of its time.
        if used[first] - used[second] > CPU_SECONDS:
            await devtools.detach()
            return first


async def cpu_times(devtools: CDPSession) -> dict[int, float]:
    processes = (await devtools.send("SystemInfo.getProcessInfo"))["processInfo"]
    return {entry["id"]: entry["cpuTime"] for entry in processes if entry["type"] == "renderer"}


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_tab_that_the_browser_freezes_resumes(
    site: Site, context: BrowserContext, role: str
) -> None:
    tabs = await open_tabs(context, site, 3)
    leader = await leader_of(site, tabs)
    frozen = next(tab for tab in tabs if (tab is leader) is (role == "leader"))
    others = [tab for tab in tabs if tab is not frozen]
    # Playwright shows each page as visible, and Chromium freezes only hidden ones.
    await frozen.value("document.dispatchEvent(new Event('freeze'))")
    await one_socket(site, others)
    await site.publish()
    await have_all(others)
    assert await frozen.value("received.length") == 0
    await frozen.value("document.dispatchEvent(new Event('resume'))")
    await have_all(tabs)
    await site.publish()
    await have_all(tabs)
    await one_socket(site, tabs)


async def test_connections_that_are_replaced_all_the_time(
    site: Site, context: BrowserContext
) -> None:
    async def shorten(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(response=response, json={**await response.json(), "max_age": 1})

    await context.route("**/realtime/connect", shorten)
    tabs = await open_tabs(context, site, 3)
    async with Stream(site).running():
        while site.request_counts()["ws"] < 4:
            site.server.requested.clear()
            await site.server.requested.wait()
    for tab in tabs:
        await check_from_start(tab, site.published, len(site.published))


async def test_tabs_without_web_locks_have_a_socket_each(
    site: Site, context: BrowserContext
) -> None:
    await context.add_init_script(NO_LOCKS)
    tabs = await open_tabs(context, site, 2)
    await site.publish()
    await have_all(tabs)
    for tab in tabs:
        await site.has_sockets([tab], 1)


async def test_option_gives_a_tab_its_own_socket(site: Site, context: BrowserContext) -> None:
    tabs = await open_tabs(context, site, 2) + await open_tabs(context, site, 1, own="1")
    await site.publish()
    await have_all(tabs)
    await site.has_sockets(tabs[:2], 1)
    await site.has_sockets(tabs[2:], 1)


async def test_tabs_of_two_users_have_two_sockets(site: Site, context: BrowserContext) -> None:
    ada = await open_tabs(context, site, 2)
    await context.add_cookies([{"name": "session", "value": "bob", "url": site.proxy.url}])
    bob = await open_tabs(context, site, 1, user="bob")
    await site.publish()
    await have_all(ada)
    await site.has_sockets(ada, 1)
    await site.has_sockets(bob, 1)
    assert await bob[0].value("client.state.get().user") == "bob"
    assert await bob[0].value("received") == []


async def test_tabs_of_two_versions_have_two_sockets(site: Site, context: BrowserContext) -> None:
    tabs = await open_tabs(context, site, 2)

    async def serve_other(route: Route) -> None:
        response = await route.fetch()
        script = await response.text()
        assert "0.1.0" in script
        await route.fulfill(response=response, body=script.replace("0.1.0", "0.0.9"))

    await context.route("**/client-tabs.js", serve_other)
    others = await open_tabs(context, site, 2)
    await site.publish()
    await have_all(tabs + others)
    await site.has_sockets(tabs, 1)
    await site.has_sockets(others, 1)


async def test_messages_of_another_script_change_nothing(
    site: Site, context: BrowserContext
) -> None:
    tabs = await open_tabs(context, site, 2)
    await tabs[1].value(f"({NOISE})()")
    await site.publish()
    await have_all(tabs)
    await one_socket(site, tabs)


async def test_lost_socket_is_replaced_by_one(site: Site, context: BrowserContext) -> None:
    tabs = await open_tabs(context, site, 4, reconnectInterval="500")
    site.proxy.drop()
    await site.publish()
    await have_all(tabs)
    await site.publish()
    await have_all(tabs)
    await one_socket(site, tabs)


async def test_revoked_channel_ends_and_returns_in_each_tab(
    site: Site, context: BrowserContext
) -> None:
    async def shorten(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(response=response, json={**await response.json(), "expires": 2})

    await context.route("**/realtime/connect", shorten)
    tabs = await open_tabs(context, site, 2)
    await site.publish()
    await have_all(tabs)
    await site.server.bridge.revoke(user="ada", channel=CHANNEL)
    for tab in tabs:
        await tab.until(f"client.channel('{CHANNEL}').get().error")
    count = len(site.published)
    await site.publish()
    assert [await tab.value("received.length") for tab in tabs] == [count, count]
    # A token from after the revocation may subscribe again.
    for tab in tabs:
        await tab.value(f"void setInterval({RETRY}, 300)")
    await have_all(tabs)
    await site.publish()
    await have_all(tabs)
    await one_socket(site, tabs)


async def test_clients_that_stop_leave_nothing_behind(site: Site, context: BrowserContext) -> None:
    tabs = await open_tabs(context, site, 2)
    await tabs[0].value(f"({RESTARTS})()")
    await tabs[0].until("clients.every((one) => one.state.get().mode === 'LIVE')")
    await site.publish()
    await have_all(tabs)
    await tabs[0].until(f"other.length === {len(site.published)}")
    await one_socket(site, tabs)
    await tabs[0].value("clients.forEach((one) => one.stop())")
    await tabs[1].value("client.stop()")
    for tab in tabs:
        await tab.until(NO_LOCKS_LEFT)
    assert not any(tab.errors for tab in tabs)
    await site.has_sockets(tabs, 0)
