"""Processing queue on huey: what people ask of a job, and a killed worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.examples.conftest import Demo
from tests.examples.widget_page import LONG, PACE, SHORT, is_under_way, shows, write

RECORD = """
window.shown = [];
new MutationObserver(() => {
  for (const { dataset } of document.querySelectorAll('.job')) window.shown.push(dataset.state);
}).observe(document, { subtree: true, childList: true, attributes: true });
"""
"""Script that records every state in which a job was shown, also briefly."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the data."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def demo(data: Path) -> Iterator[Demo]:
    demo = Demo("--data", data, **PACE)
    yield demo
    assert "Traceback" not in demo.press_ctrl_c()
    assert demo.processes() == []


async def test_job_is_cancelled_by_the_button(demo: Demo, page: Page, tmp_path: Path) -> None:
    await open_page(page, demo)
    files = [write(tmp_path / f"unwanted-{number}.log", LONG) for number in range(3)]
    first, _, queued = [await upload(page, file) for file in files]
    await is_under_way(first)

    # Two workers are busy: the third job is cancelled before its start, when one of them is free.
    await cancel(queued)
    await expect(queued.locator(".pill")).to_have_text("Cancelling")
    await cancel(first)

    await shows(first, "cancelled")
    await shows(queued, "cancelled")
    await cancel(page.locator(".job[data-state=started]"))
    await expect(page.locator(".job[data-state=cancelled]")).to_have_count(3)
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


async def test_job_asks_before_it_overwrites(demo: Demo, page: Page, tmp_path: Path) -> None:
    await open_page(page, demo)
    file = write(tmp_path / "twice.log", SHORT)
    await shows(await upload(page, file), "completed")
    for answer in ("no", "yes"):
        job = await upload(page, file)
        await expect(job).to_contain_text("Overwrite the file twice.log.txt?")

        await job.get_by_role("button", name=answer).click()

        await shows(job, "completed")
        expected = "The earlier result stays" if answer == "no" else ""
        await expect(job.locator(".note")).to_have_text(expected)


@pytest.mark.parametrize("is_asking", [False, True], ids=["running", "asking"])
async def test_next_worker_repeats_the_job_of_a_killed_one(
    demo: Demo, data: Path, page: Page, tmp_path: Path, *, is_asking: bool
) -> None:
    await open_page(page, demo)
    # A busy machine needs seconds to press the button, and the job must still be running.
    file = write(tmp_path / f"killed-{is_asking}.log", SHORT if is_asking else LONG)
    if is_asking:
        await shows(await upload(page, file), "completed")
    job = await upload(page, file)
    await (shows(job, "asking") if is_asking else is_under_way(job))
    (worker,) = demo.processes("huey_consumer")

    await page.get_by_role("button", name="Kill the worker").click()

    for upload_path in (data / "uploads").iterdir():
        write(upload_path, SHORT)
    await expect(job.locator(".note")).to_have_text("Attempt 2, because a worker was killed.")
    assert "lost" in await page.evaluate("shown")
    if is_asking:
        await job.get_by_role("button", name="yes").click()
    await shows(job, "completed")
    assert demo.processes("huey_consumer") != [worker]


async def open_page(page: Page, demo: Demo) -> None:
    """Open the page, and wait for its connection."""
    await page.add_init_script(RECORD)
    await page.goto(demo.url)
    await expect(page.locator("#status strong")).to_have_text("Real-time")


async def upload(page: Page, file: Path) -> Locator:
    """Upload a file, and return the card of its job."""
    async with page.expect_response("**/api/upload") as response:
        await page.set_input_files("input[type=file]", file)
    job = (await (await response.value).json())["job"]
    return page.locator(f'.job[data-job="{job}"]')


async def cancel(job: Locator) -> None:
    """Press a job's button Cancel."""
    await job.get_by_role("button", name="Cancel").click()
