"""Widget in a browser: a cancel and an answer by keyboard, and a job whose worker is silent."""

import asyncio

import pytest
from playwright.async_api import Locator, Page, expect

from realtime_bridge import Event, JobCancelledError
from realtime_bridge.server.http.request import Receive, Scope, Send
from realtime_bridge.server.http.response import Response
from tests.browser.bundle import bundle
from tests.browser.pages import CHANNEL, Site, Tab

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMEOUT = 30.0
QUESTION = "Overwrite the file?"


def serve_widget(site: Site) -> None:
    """Serve the page with the widget at `/jobs`."""
    html = f'<!doctype html><main></main><script type="module">{bundle("jobs.tsx")}</script>'
    bridge = site.server.bridge

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/jobs":
            head = {"content-type": "text/html; charset=utf-8"}
            await Response(body=html.encode(), headers=head).send(send)
        else:
            await bridge(scope, receive, send)

    site.server.http = application


async def publish_silent_job(site: Site) -> None:
    """Publish the start of a job whose worker was killed right after it."""
    data = {"job": "silent", "title": "silent", "state": "running", "progress": 0.4}
    started = Event(
        channel=CHANNEL,
        event="job.started",
        data=data,
        key="job-silent",
        attempt="A",
        take="always",
        lease=5,
        will={"event": "job.lost", "data": {"job": "silent", "title": "silent", "state": "lost"}},
    )
    await site.server.bridge.publish_many([started])


async def work_until_cancelled(site: Site) -> None:
    with pytest.raises(JobCancelledError, match="cancelled by ada"):
        async with site.server.bridge.job(CHANNEL, id="endless", title="endless", cancellable=True):
            await asyncio.Event().wait()


async def ask(site: Site) -> str:
    async with site.server.bridge.job(CHANNEL, id="careful", title="careful") as job:
        return str(await job.ask(QUESTION, choices=["yes", "no"]))


def row(page: Page, job: str) -> Locator:
    return page.locator(f'.rb-job[data-job="{job}"]')


async def shows(page: Page, job: str, state: str) -> None:
    await expect(row(page, job)).to_have_attribute("data-state", state, timeout=TIMEOUT * 1_000)


async def press(button: Locator) -> None:
    """Press a button by keyboard."""
    await button.focus()
    await button.press("Enter")


async def test_jobs_are_cancelled_answered_and_lost_on_a_page(tab: Tab, site: Site) -> None:
    serve_widget(site)
    page = tab.page
    await page.goto(f"{site.proxy.url}/jobs")
    await publish_silent_job(site)
    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        tasks.create_task(work_until_cancelled(site))
        answered = tasks.create_task(ask(site))

        await press(row(page, "endless").get_by_role("button", name="Cancel endless"))
        await shows(page, "endless", "cancelled")
        await expect(row(page, "endless")).to_contain_text("by you")
        await expect(row(page, "endless")).to_be_focused()

        await press(page.get_by_role("group", name=QUESTION).get_by_role("button", name="yes"))
        await shows(page, "careful", "completed")
        assert await answered == "yes"

    await shows(page, "silent", "lost")
    await expect(row(page, "silent")).to_contain_text("It may come back.")
    await expect(row(page, "silent").get_by_role("progressbar")).to_have_attribute(
        "aria-valuenow", "40"
    )
    assert not tab.errors
