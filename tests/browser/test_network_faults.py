"""What a real Chromium makes of every kind of weather: no event lost, and no lie about it."""

import asyncio
import time

import pytest
from playwright.async_api import BrowserContext

from tests.browser.pages import SOCKETS, Application, Site, Tab, kill_sockets_after, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

WENT_SILENT = "({ reason }) => reason === 'the socket went silent'"
SEE = """state => {
  Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


async def test_a_bare_page_connects_and_gets_every_event(site: Site, tab: Tab) -> None:
    await tab.open()
    await tab.live()

    await site.publish()

    await tab.has_all()
    assert [label for label in await tab.labels() if label] == ["Real-time"]
    assert await tab.value("client.state.get().user") == "ada"
    assert await tab.value("client.state.get().transport") == "websocket"


async def test_who_is_not_signed_in_is_told_so_until_they_are(
    site: Site, stranger: BrowserContext
) -> None:
    tab = Tab(await stranger.new_page(), site)
    await tab.open()

    await tab.shows("Error")

    assert "401" in await tab.reason()
    assert site.asked() == {"connect": 2, "poll": 0, "ws": 0}, "renewed once, and no more"
    await sign_in(stranger, site)
    await tab.value("client.retry()")
    await tab.live()
    await tab.goes_on()


async def test_a_socket_that_is_cut_turns_yellow_within_a_second_and_data_still_arrives(
    site: Site, tab: Tab
) -> None:
    await tab.open(reconnectInterval=1_000)
    await tab.live()
    await tab.goes_on()
    site.proxy.only = SOCKETS
    site.proxy.refuse()
    cut = time.time()

    site.proxy.drop()

    await site.publish()
    await tab.shows("Polling")
    said = (await tab.value("labels"))[-1]
    assert said["label"] == "Polling"
    assert said["at"] / 1_000 - cut < 1
    await tab.has_all()
    await tab.goes_on()
    assert await tab.value("client.state.get().updateSource") == "polling"
    site.proxy.heal()
    await tab.live()
    await tab.goes_on()
    assert [label for label in await tab.labels() if label] == ["Real-time", "Polling", "Real-time"]


async def test_a_socket_that_goes_silent_is_polling_within_20_s_and_real_time_once_it_heals(
    site: Site, tab: Tab
) -> None:
    await tab.open(reconnectInterval=1_000)
    await tab.live()
    await tab.goes_on()
    site.proxy.only = SOCKETS

    site.proxy.swallow()

    await site.publish()
    await tab.shows("Polling", within=20)
    await tab.has_all()
    site.proxy.heal()
    await tab.live()
    await tab.goes_on()


async def test_a_proxy_that_accepts_sockets_and_swallows_everything_is_not_believed(
    site: Site, tab: Tab
) -> None:
    bridge = site.server.bridge
    assert isinstance(bridge, Application)
    bridge.swallows = True
    await tab.open(pollingInterval=1_000)

    await tab.shows("Polling", within=10)

    assert site.asked()["ws"] > 0
    assert "Real-time" not in await tab.labels()
    await tab.goes_on()
    bridge.swallows = False
    await tab.live()
    await tab.goes_on()


async def test_a_proxy_that_kills_each_socket_after_300_ms_makes_it_settle_on_polling(
    site: Site, tab: Tab
) -> None:
    kill_sockets_after(tab, site, 0.3)
    await tab.open(reconnectInterval=500)
    await tab.until("labels.filter(({ label }) => label === 'Real-time').length === 3")
    await tab.shows("Polling")

    for _ in range(4):
        await tab.goes_on()

    assert len(tab.sockets) == 3
    assert (await tab.labels()).count("Real-time") == 3
    await tab.shows("Polling")


async def test_a_restarted_server_means_a_reset_and_a_fresh_snapshot(site: Site, tab: Tab) -> None:
    await tab.open(snapshots=1, pollingInterval=1_000)
    await tab.live()
    await tab.until("snapshots.length === 1")
    await tab.goes_on()
    before = list(site.published)
    site.proxy.refuse()

    await site.restart()

    covered = await site.publish()
    site.proxy.heal()
    await tab.until("snapshots.length === 2")
    [reset] = await tab.value("resets")
    assert reset["reason"] == "epoch"
    latest = (await tab.value("snapshots"))[1]["events"]
    assert [event["id"] for event in latest] == [covered[-1][0]]
    await tab.live()
    site.published = before
    await site.publish()
    await tab.has_all(resets=1)


async def test_without_any_way_through_it_turns_red_with_a_reason_and_recovers(
    site: Site, tab: Tab
) -> None:
    await tab.open(pollingInterval=1_000)
    await tab.live()
    await tab.goes_on()
    site.proxy.refuse()
    cut = time.time()

    site.proxy.drop()

    await site.publish()
    await tab.shows("Offline", within=35)
    assert time.time() - cut > 29
    assert "socket closed" in await tab.reason()
    site.proxy.heal()
    await tab.has_all()
    await tab.shows("Polling")
    await tab.value("client.refresh()")
    await tab.live()
    await tab.goes_on()


async def test_the_browser_s_offline_switch_is_followed_on_and_off(
    site: Site, tab: Tab, context: BrowserContext
) -> None:
    await tab.open(reconnectInterval=20_000)
    await tab.live()
    await tab.goes_on()

    await context.set_offline(True)

    await tab.until("!navigator.onLine")
    site.proxy.drop()
    await tab.until("client.state.get().updateSource === 'polling'")
    await site.publish()
    assert (await tab.labels())[-1] != "Real-time"
    await context.set_offline(False)
    await tab.shows("Real-time", within=3)
    await tab.has_all()
    await tab.goes_on()


async def test_five_tabs_of_one_user_are_all_exact(site: Site, context: BrowserContext) -> None:
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
    assert [tab.open_sockets for tab in tabs] == [1] * 5


async def test_a_laptop_that_slept_for_an_hour_catches_up_as_it_wakes(site: Site, tab: Tab) -> None:
    await tab.page.clock.install()
    await tab.open()
    await tab.live()
    await tab.goes_on()
    site.proxy.only = SOCKETS
    site.proxy.half_open()
    await site.publish()

    await tab.page.clock.fast_forward("01:00:00")

    await tab.has_all(within=5)
    await tab.until(f"client.state.get().transitions.some({WENT_SILENT})")
    await tab.live()
    await tab.goes_on()
    assert site.asked()["connect"] == 2, "its token was too old"


async def test_a_page_that_stood_still_while_its_socket_was_cut_catches_up(
    site: Site, tab: Tab
) -> None:
    await tab.open()
    await tab.live()
    await tab.goes_on()
    devtools = await tab.page.context.new_cdp_session(tab.page)
    still = asyncio.Event()
    devtools.on("Debugger.paused", lambda _: still.set())
    await devtools.send("Debugger.enable")

    await devtools.send("Debugger.pause")

    await site.publish()
    await still.wait()
    site.proxy.drop()
    await site.publish()
    await devtools.send("Debugger.resume")
    await tab.has_all()
    await tab.live()
    await tab.goes_on()


async def test_a_hidden_tab_goes_on_pauses_after_five_minutes_and_catches_up_when_it_is_seen(
    site: Site, tab: Tab
) -> None:
    await tab.page.clock.install()
    await tab.open()
    await tab.live()

    await tab.page.evaluate(SEE, "hidden")

    await tab.goes_on()
    await tab.page.clock.fast_forward("05:01")
    await tab.shows("Paused")
    asked = site.asked()
    await site.publish()
    await tab.page.clock.fast_forward("30:00")
    await tab.value("fetch('./realtime/health/live').then(({ ok }) => ok)")
    assert site.asked() == asked
    assert not tab.open_sockets
    await tab.page.evaluate(SEE, "visible")
    await tab.live()
    await tab.has_all()
    await tab.goes_on()
