"""Tests of the dashboard in a browser: keyboard, both colour schemes, nothing of another host."""

from collections.abc import AsyncGenerator
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from realtime_bridge.server import Bridge
from realtime_bridge.settings import DEVELOPMENT_SECRET
from tests.client.servers import serving
from tests.examples.pictures import picture
from tests.server.harness import make_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = {"width": 1100, "height": 1000}


@pytest_asyncio.fixture(loop_scope="module")
async def origin() -> AsyncGenerator[str]:
    bridge = Bridge(make_settings(secret=DEVELOPMENT_SECRET), dev=True)
    bridge.channel("job.{job}")(lambda user, job: True)
    async with serving(bridge) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest_asyncio.fixture(loop_scope="module", params=["light", "dark"])
async def page(
    browser: Browser, origin: str, request: pytest.FixtureRequest
) -> AsyncGenerator[Page]:
    """Open the dashboard; the page asks no other host, and the browser reports no error."""
    scheme: Literal["light", "dark"] = request.param
    context = await browser.new_context(color_scheme=scheme, viewport=SIZE)  # type: ignore[arg-type]
    page, requests, errors = await context.new_page(), set[str](), list[str]()
    page.on("request", lambda one: requests.add(one.url))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"{origin}/realtime/")
    await expect(page.locator("#health")).to_have_text("ok · log ok · backend ok")
    yield page
    await context.close()
    assert all(url.startswith((origin, "data:")) for url in requests)
    # The browser reports the answer 400 to the test's invalid event.
    assert [text for text in errors if "400" not in text] == []


async def subscribe(page: Page, channel: str) -> None:
    """Fill the form by the keyboard."""
    await page.locator("#subscribe [name=channel]").fill("")
    await page.locator("#subscribe [name=channel]").focus()
    await page.keyboard.type(channel)
    for key in ("Tab", "Tab", "Enter"):
        await page.keyboard.press(key)


async def test_operator_publishes_and_subscribes_by_keyboard(page: Page) -> None:
    await subscribe(page, "job.7")
    await expect(page.locator("#subscribed")).to_have_text("job.7: Real-time")
    await page.locator("#channels [data-channel='job.7']").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#publish [name=channel]")).to_have_value("job.7")
    await page.locator("#publish [name=event]").focus()
    await page.keyboard.type("job.progress")
    for number in (1, 2):
        await page.keyboard.press("Enter")
        await expect(page.locator("#published")).to_have_text(f"Published at offset {number}")
    await expect(page.locator("#received li")).to_have_count(2)
    await expect(page.locator("#received")).to_contain_text('2 job.progress {"percent":30}')
    await expect(page.locator("#events")).to_contain_text("Announced by the log2")
    is_dark = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    await picture(page, f"dashboard-{'dark' if is_dark else 'light'}")


async def test_refusals_are_shown_in_words(page: Page) -> None:
    await subscribe(page, "secret.1")
    await expect(page.locator("#subscribed")).to_contain_text("may not listen to secret.1")
    await expect(page.locator("#trouble")).to_contain_text("Refused: forbidden1")
    await page.locator("#publish [name=channel]").fill("@realtime.x")
    await page.locator("#publish [name=event]").fill("e")
    await page.locator("#publish button").click()
    await expect(page.locator("#published")).to_contain_text("choose another name")
    await page.locator("#publish textarea").fill("{")
    await page.locator("#publish button").click()
    await expect(page.locator("#published")).to_contain_text("JSON")
