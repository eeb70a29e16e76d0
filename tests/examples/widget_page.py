"""Start of the variants with `ProcessingWidget`, and the use of their page."""

import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Locator, Page, expect

LINE = b"station 7 ok\n"
EXAMPLE = Path(__file__).parents[2] / "examples" / "processing_queue"


PACE = {"QUEUE_BYTES_PER_SECOND": "1500000"}
SHORT, LONG = 20_000, 1_000_000
"""Lines of a file that is read in half a second, and of a file that takes half a minute."""


RECORD = """
window.shown = {};
new MutationObserver(() => {
  for (const { dataset } of document.querySelectorAll('.rb-job')) {
    (window.shown[dataset.job] ??= new Set()).add(dataset.state);
  }
}).observe(document, { subtree: true, childList: true, attributes: true });
"""
"""Script that records every state in which a job was shown, also briefly."""


def command(variant: str) -> Sequence[str]:
    """Return the command that starts a variant."""
    return [sys.executable, str(EXAMPLE), "--on", variant]


def write(path: Path, lines: int) -> Path:
    """Write measurements, and return their path."""
    path.write_bytes(LINE * lines)
    return path


async def open_page(page: Page, url: str) -> None:
    """Open the page, and wait for its connection."""
    await page.add_init_script(RECORD)
    await page.goto(url)
    await expect(page.locator(".rb-badge")).to_contain_text("Real-time")


async def upload(page: Page, file: Path) -> tuple[str, Locator]:
    """Upload a file, and return the id and the card of its job."""
    async with page.expect_response("**/api/upload") as response:
        await page.set_input_files("input[type=file]", file)
    job = str((await (await response.value).json())["job"])
    return job, page.locator(f'.rb-job[data-job="{job}"]')


async def shows(job: Locator, state: str) -> None:
    """Wait until the page shows a job in a state."""
    await expect(job).to_have_attribute("data-state", state)


async def has_shown(job: Locator, state: str) -> bool:
    """Return whether the page has shown a job in a state."""
    script = "(job, state) => window.shown[job.dataset.job].has(state)"
    return bool(await job.evaluate(script, state))


async def is_under_way(job: Locator) -> None:
    """Wait until the page shows progress of a job."""
    bar = job.locator("[role=progressbar]")
    await job.page.wait_for_function(
        "bar => bar.getAttribute('aria-valuenow') >= 1", arg=await bar.element_handle()
    )
