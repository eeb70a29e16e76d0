"""Network faults in a real Chromium: no event is lost, and the status is correct."""

import asyncio
import time

import pytest
from playwright.async_api import BrowserContext

from tests.browser.pages import SOCKETS, Application, Site, Tab, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

WENT_SILENT = "({ reason }) => reason === 'the socket went silent'"
SET_VISIBILITY = """state => {
  Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


async def test_page_connects_and_receives_every_event(site: Site, tab: Tab) -> None:
    await tab.open()
    await tab.live()

    await site.publish()

    await tab.has_all()
    assert [label for label in await tab.labels() if label] == ["Real-time"]
    assert await tab.value("client.state.get().user") == "ada"
    assert await tab.value("client.state.get().transport") == "websocket"


async def test_page_without_session_shows_error_until_sign_in(
    site: Site, signed_out_context: BrowserContext
) -> None:
    tab = Tab(await signed_out_context.new_page(), site)
    await tab.open()

    await tab.shows("Error", within=45)  # a session may come back within 30 s

    assert "401" in await tab.reason()
    counts = site.request_counts()
    assert counts["connect"] >= 2, "the credentials are renewed"
    assert (counts["poll"], counts["ws"]) == (0, 0)
    await sign_in(signed_out_context, site)
    await tab.value("client.retry()")
    await tab.live()
    await tab.check_delivery()


async def test_cut_socket_shows_polling_within_a_second(site: Site, tab: Tab) -> None:
    await tab.open(reconnectInterval=1_000)
    await tab.live()
    await tab.check_delivery()
    site.proxy.only = SOCKETS
    site.proxy.refuse()
    cut_at = time.time()

    site.proxy.drop()

    await site.publish()
    await tab.shows("Polling")
    status = (await tab.value("labels"))[-1]
    assert status["label"] == "Polling"
    assert status["at"] / 1_000 - cut_at < 1
    await tab.has_all()
    await tab.check_delivery()
    assert await tab.value("client.state.get().updateSource") == "polling"
    site.proxy.heal()
    await tab.live()
    await tab.check_delivery()
    assert [label for label in await tab.labels() if label] == ["Real-time", "Polling", "Real-time"]


async def test_silent_socket_is_replaced_by_polling_within_20_s(site: Site, tab: Tab) -> None:
    await tab.open(reconnectInterval=1_000)
    await tab.live()
    await tab.check_delivery()
    site.proxy.only = SOCKETS

    site.proxy.swallow()

    await site.publish()
    await tab.shows("Polling", within=20)
    await tab.has_all()
    site.proxy.heal()
    await tab.live()
    await tab.check_delivery()


async def test_accepted_but_silent_socket_is_not_shown_as_live(site: Site, tab: Tab) -> None:
    bridge = site.server.bridge
    assert isinstance(bridge, Application)
    bridge.is_silent = True
    await tab.open(pollingInterval=1_000)

    await tab.shows("Polling", within=10)

    assert site.request_counts()["ws"] > 0
    assert "Real-time" not in await tab.labels()
    await tab.check_delivery()
    bridge.is_silent = False
    await tab.live()
    await tab.check_delivery()


async def test_sockets_reset_once_they_are_live_lead_to_polling(site: Site, tab: Tab) -> None:
    site.proxy.only = SOCKETS
    await tab.open(reconnectInterval=500)
    for count in range(1, 4):
        await tab.until(f"labels.filter(({{ label }}) => label === 'Real-time').length === {count}")
        site.proxy.drop()
    await tab.shows("Polling")

    for _ in range(4):
        await tab.check_delivery()

    assert len(tab.sockets) == 3
    assert (await tab.labels()).count("Real-time") == 3
    await tab.shows("Polling")


async def test_restarted_server_causes_reset_and_new_snapshot(site: Site, tab: Tab) -> None:
    await tab.open(snapshots=1, pollingInterval=1_000)
    await tab.live()
    await tab.until("snapshots.length === 1")
    await tab.check_delivery()
    before = list(site.published)
    site.proxy.refuse()

    await site.restart()

    events = await site.publish()
    site.proxy.heal()
    await tab.until("snapshots.length === 2")
    [reset] = await tab.value("resets")
    assert reset["reason"] == "epoch"
    latest = (await tab.value("snapshots"))[1]["events"]
    assert [event["id"] for event in latest] == [events[-1][0]]
    await tab.live()
    site.published = before
    await site.publish()
    await tab.has_all(resets=1)


async def test_page_without_any_connection_shows_offline(site: Site, tab: Tab) -> None:
    await tab.open(pollingInterval=1_000)
    await tab.live()
    await tab.check_delivery()
    site.proxy.refuse()
    cut_at = time.time()

    site.proxy.drop()

    await site.publish()
    await tab.shows("Offline", within=35)
    assert time.time() - cut_at > 29
    assert "socket closed" in await tab.reason()
    # Sockets stay refused: the attempt that is due at a random time could come before a poll.
    site.proxy.only = SOCKETS
    await tab.has_all()
    await tab.shows("Polling")
    site.proxy.heal()
    await tab.value("client.refresh()")
    await tab.live()
    await tab.check_delivery()
    assert (await tab.labels()).count("Real-time") == 2, "it returns with the socket, not before"


async def test_offline_mode_of_the_browser_is_followed(
    site: Site, tab: Tab, context: BrowserContext
) -> None:
    await tab.open(reconnectInterval=20_000)
    await tab.live()
    await tab.check_delivery()

    await context.set_offline(True)

    await tab.until("!navigator.onLine")
    site.proxy.drop()
    await tab.until("client.state.get().updateSource === 'polling'")
    await site.publish()
    assert (await tab.labels())[-1] != "Real-time"
    await context.set_offline(False)
    await tab.shows("Real-time", within=3)
    await tab.has_all()
    await tab.check_delivery()


async def test_five_tabs_of_one_user_receive_every_event(
    site: Site, context: BrowserContext
) -> None:
    tabs = [Tab(await context.new_page(), site) for _ in range(5)]
    for tab in tabs:
        await tab.open(reconnectInterval=1_000)
    for tab in tabs:
        await tab.live()
    await site.publish()
    for tab in tabs:
        await tab.has_all()

    site.proxy.drop()

    await site.publish()
    for tab in tabs:
        await tab.live()
        await tab.has_all()
    await site.publish()
    for tab in tabs:
        await tab.has_all()
    assert len({await tab.value("client.id") for tab in tabs}) == 5
    await site.has_sockets(tabs, 1)


async def test_laptop_recovers_events_after_an_hour_of_sleep(site: Site, tab: Tab) -> None:
    await tab.page.clock.install()
    await tab.open()
    await tab.live()
    await tab.check_delivery()
    site.proxy.only = SOCKETS
    site.proxy.half_open()
    await site.publish()

    await tab.page.clock.fast_forward("01:00:00")

    await tab.has_all(within=5)
    await tab.until(f"client.state.get().transitions.some({WENT_SILENT})")
    await tab.live()
    await tab.check_delivery()
    assert site.request_counts()["connect"] == 2, "the token had expired"


async def test_paused_page_recovers_events_after_a_cut_socket(site: Site, tab: Tab) -> None:
    await tab.open()
    await tab.live()
    await tab.check_delivery()
    devtools = await tab.page.context.new_cdp_session(tab.page)
    paused = asyncio.Event()
    devtools.on("Debugger.paused", lambda _: paused.set())
    await devtools.send("Debugger.enable")

    await devtools.send("Debugger.pause")

    await site.publish()
    await paused.wait()
    site.proxy.drop()
    await site.publish()
    await devtools.send("Debugger.resume")
    await tab.has_all()
    await tab.live()
    await tab.check_delivery()


async def test_hidden_tab_pauses_after_five_minutes_and_recovers(site: Site, tab: Tab) -> None:
    await tab.page.clock.install()
    await tab.open()
    await tab.live()

    await tab.page.evaluate(SET_VISIBILITY, "hidden")

    await tab.check_delivery()
    await tab.page.clock.fast_forward("05:01")
    await tab.shows("Paused")
    counts = site.request_counts()
    await site.publish()
    await tab.page.clock.fast_forward("30:00")
    await tab.value("fetch('./realtime/health/live').then(({ ok }) => ok)")
    assert site.request_counts() == counts
    await site.has_sockets([tab], 0)
    await tab.page.evaluate(SET_VISIBILITY, "visible")
    await tab.live()
    await tab.has_all()
    await tab.check_delivery()
