"""Processing queue with htmx: rows that the worker renders, on a page without our client."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.examples.conftest import Demo
from tests.examples.pictures import picture
from tests.examples.widget_page import LINE, LONG, PACE, SHORT, command

HOSTILE = "<img src=x onerror=alert(1)>.txt"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    gone = tmp_path_factory.mktemp("files") / "first.log"
    gone.write_bytes(LINE * 100)
    data = tmp_path_factory.mktemp("data")
    demo = Demo("--data", data, gone, command=command("htmx"), **PACE)
    yield demo
    demo.press_ctrl_c()


async def upload(page: Page, name: str, lines: int) -> Locator:
    file = {"name": name, "mimeType": "text/plain", "buffer": LINE * lines}
    await page.locator("input").set_input_files(file)  # type: ignore[arg-type]  # its TypedDict
    return page.locator("li", has_text=name)


async def test_rows_follow_their_jobs_to_the_end(demo: Demo, page: Page, tmp_path: Path) -> None:
    dialogs: list[object] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog))  # noqa: PLW0108 -- a method has no place for Playwright
    await page.goto(demo.url)
    # The job was queued before the page: its latest row comes first.
    first = page.locator("li", has_text="first.log")
    await expect(first).to_have_class("completed")
    await expect(first.locator("small")).to_have_text(re.compile("100 lines, 300 words"))
    long = await upload(page, "long.log", LONG)
    await expect(long.locator("small")).to_have_text(re.compile(r"checksum, [1-9]"))
    await expect(page.locator("li").first).to_contain_text("long.log")
    short = await upload(page, HOSTILE, SHORT)
    await expect(short).to_have_class("completed")
    await picture(page, "queue-htmx")
    await long.get_by_role("button", name="Cancel").click()
    await expect(long).to_have_class("failed")
    await expect(long.locator("small")).to_have_text("Cancelled")
    await expect(page.locator("li")).to_have_count(3)
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert dialogs == []


async def test_page_goes_on_after_the_server_was_killed(demo: Demo, page: Page) -> None:
    await page.goto(demo.url)
    long = await upload(page, "other.log", LONG)
    await expect(long).to_have_class("started")
    for process in demo.processes("uvicorn"):
        os.kill(process, signal.SIGKILL)
    shown = await long.locator("small").inner_text()
    await expect(long.locator("small")).not_to_have_text(shown)
    await long.get_by_role("button", name="Cancel").click()
    await expect(long).to_have_class("failed")
